"""From a trained model directory to where it runs; installed as `keras_mrisr.export`."""
