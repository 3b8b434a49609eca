from tests.volumes.conftest import dicom_series  # noqa: F401
