from .callbacks import TrainingInterruptedError as TrainingInterruptedError
from .srgan import SRGAN as SRGAN, gan_optimizer as gan_optimizer
from .train import train as train
