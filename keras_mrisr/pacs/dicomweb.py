"""A study of a DICOMweb server, upscaled and stored there as derived series."""

import logging
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from keras_mrisr.errors import ConfigError, DataError, MissingDependencyError, MrisrError
from keras_mrisr.folders import Failure, reason_of
from keras_mrisr.inference.folder import Job, upscale_each
from keras_mrisr.inference.options import Outcome, UpscaleOptions
from keras_mrisr.inference.scan import Scan
from keras_mrisr.types import PathLike, Progress
from keras_mrisr.volumes.dicom import dicom

log = logging.getLogger(__name__)

_TIMEOUT = 60  # Seconds.


class DicomWeb:
    """A DICOMweb server.

    Args:
        url: Root of its services, such as "https://pacs/dicom-web".
        token: Bearer token, or None.
        user: (name, password) of basic authentication, or None.
        ca: File of the authorities (PEM) to trust in place of the system's; or None.

    Raises:
        ConfigError: A URL that is none, or a secret that would be sent without encryption.
        MissingDependencyError: dicomweb-client is not installed.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        user: tuple[str, str] | None = None,
        ca: PathLike | None = None,
    ) -> None:
        try:
            import requests
            from dicomweb_client import DICOMwebClient
        except ImportError as error:
            raise MissingDependencyError(
                "DICOMweb needs dicomweb-client, which is not installed: pip install dicomweb-client"
            ) from error
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"A DICOMweb server is given as a URL, https://HOST/PATH. Received: {url!r}")
        local = url.removeprefix("http://").split("/")[0].rsplit(":", 1)[0] in (
            "localhost",
            "127.0.0.1",
            "[::1]",
        )
        if (token or user) and url.startswith("http://") and not local:
            raise ConfigError(
                f"A token or password would go to {url} without encryption. Give an https:// URL."
            )
        session = requests.Session()
        session.verify = True if ca is None else str(ca)
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        if user:
            session.auth = user
        self.url = url
        self._client = DICOMwebClient(url, session=session)
        self._client.set_http_retry_params(retry=False)

    def series(self, study: str) -> list[dict[str, Any]]:
        """The series of a study, by QIDO-RS: {"uid", "modality", "number", "description"}.

        Raises:
            DataError: No such study, or the server does not answer.
        """
        found = self._asked(lambda: self._client.search_for_series(study_instance_uid=study))
        if not found:
            raise DataError(f"{self.url} has no study {study}. Check the identifier.")
        tags = {"uid": "0020000E", "modality": "00080060", "number": "00200011", "description": "0008103E"}
        return [
            {key: (one.get(tag, {}).get("Value") or [""])[0] for key, tag in tags.items()} for one in found
        ]

    def retrieve(self, study: str, series: str, folder: pathlib.Path) -> None:
        """Writes the instances of a series, by WADO-RS, into a folder."""
        instances = self._asked(
            lambda: self._client.retrieve_series(study_instance_uid=study, series_instance_uid=series)
        )
        folder.mkdir(parents=True)
        for place, instance in enumerate(instances):
            instance.save_as(folder / f"{place:06d}.dcm", enforce_file_format=True)

    def store(self, study: str, files: Sequence[pathlib.Path]) -> None:
        """Stores instances in a study, by STOW-RS."""
        import pydicom

        datasets = [pydicom.dcmread(file) for file in files]
        answer = self._asked(lambda: self._client.store_instances(datasets, study_instance_uid=study))
        failed = answer.get("FailedSOPSequence") if answer is not None else None
        if failed:
            raise DataError(f"{self.url} refused {len(failed)} of {len(files)} instances.")

    def _asked(self, request: Any) -> Any:
        """The answer to a request; what goes wrong in one line."""
        import requests

        try:
            return request()
        except requests.exceptions.HTTPError as error:
            code = error.response.status_code if error.response is not None else "no"
            raise DataError(
                f"{self.url} answers with status {code}. Check the address and the rights."
            ) from error
        except requests.exceptions.SSLError as error:
            raise DataError(
                f"{self.url} has no certificate that can be trusted. Give its authority."
            ) from error
        except requests.exceptions.RequestException as error:
            raise DataError(f"{self.url} does not answer ({type(error).__name__}).") from error


def upscale_study(
    server: DicomWeb,
    study: str,
    models: Any,
    options: UpscaleOptions | None = None,
    *,
    series: str | None = None,
    progress: Progress | None = None,
) -> tuple[list[str], list[Failure]]:
    """Upscales the MR series of a study on a server and stores the derived series there.

    Args:
        server: The server.
        study: StudyInstanceUID.
        models: See `upscale_path`.
        options: How.
        series: SeriesInstanceUID of the only one that is wanted.
        progress: Called with the number of series done so far and the number in all.

    Returns:
        (identifiers of the series that were upscaled, those that could not be)

    Raises:
        DataError: There is no such study or series, or the server does not answer.
    """
    wanted = _wanted(server, study, series)
    done, failures = [], []
    for count, one in enumerate(wanted, 1):
        uid = str(one["uid"])
        try:
            _upscale_series(server, study, uid, models, options or UpscaleOptions())
            done.append(uid)
        except (MrisrError, OSError, MemoryError) as error:
            failure = Failure.of(error, pathlib.Path(uid))
            log.warning("Series %s (%s) is left out: %s", one["number"], one["description"], failure.reason)
            failures.append(failure)
        if progress is not None:
            progress(count, len(wanted))
    return done, failures


def _wanted(server: DicomWeb, study: str, series: str | None) -> list[dict[str, Any]]:
    """The series of a study that are to be upscaled: the one that is named, or those of MR."""
    there = server.series(study)
    if series is not None:
        wanted = [one for one in there if one["uid"] == series]
    else:
        wanted = [one for one in there if one["modality"] == "MR"]
    if not wanted:
        what = f"series {series}" if series else "series of MR"
        raise DataError(f"Study {study} on {server.url} has no {what}: nothing to upscale.")
    return wanted


def _upscale_series(server: DicomWeb, study: str, series: str, models: Any, options: UpscaleOptions) -> None:
    with tempfile.TemporaryDirectory(prefix="mrisr-") as folder:
        source, target = pathlib.Path(folder, series), pathlib.Path(folder, "derived")
        server.retrieve(study, series, source)
        [(_, result)] = upscale_each([Job(Scan(source, dicom), target, options)], models)
        if not isinstance(result, Outcome):
            raise DataError(reason_of(result, source).replace(str(source), series)) from result
        server.store(study, sorted(target.glob("*.dcm")))
