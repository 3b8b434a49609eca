from .callbacks import TrainingInterruptedError as TrainingInterruptedError
from .recipe import train as train
from .srgan import SRGAN as SRGAN, gan_optimizer as gan_optimizer
