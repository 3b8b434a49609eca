"""What TensorFlow Serving needs besides the model: configuration, and a Docker Compose file."""

import pathlib

MAX_BATCH = 8
_FILES = {
    "models.config": """\
# What is served, and under which name. Read by --model_config_file.
model_config_list {
  config {
    name: "@NAME@"
    base_path: "/models/@NAME@"
    model_platform: "tensorflow"
  }
}
""",
    "batching.config": """\
# Read by --batching_parameters_file, which docker-compose.yml has only in a comment: with batching
# TensorFlow Serving merges whatever comes within batch_timeout_micros, and where slices differ in size it
# fails all of them. Turn it on if serving_default gets slices of one size only. Don't pad them to one
# (pad_variable_length_inputs): the zeros change what the network makes of the border.
# mrisr serve-client sends slices of one size together in any case, and gets along with either.
max_batch_size { value: @MAX_BATCH@ }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 256 }
# One on a GPU; on a CPU as many as there are cores, since a small batch leaves some of them idle.
num_batch_threads { value: 2 }
# No allowed_batch_sizes: batches would be filled up with copies, which cost as much as real slices.
""",
    "monitoring.config": """\
# Read by --monitoring_config_file. Prometheus scrapes http://HOST:8501/monitoring/prometheus/metrics.
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
""",
    "docker-compose.yml": """\
# docker compose up -d; then http://localhost:8501/v1/models/@NAME@ says AVAILABLE.
services:
  serving:
    image: ${TF_SERVING_IMAGE:-tensorflow/serving:latest}
    command:
      - --model_config_file=/config/models.config
      # Only where all slices are of one size: see batching.config.
      # - --enable_batching=true
      # - --batching_parameters_file=/config/batching.config
      - --monitoring_config_file=/config/monitoring.config
      - --rest_api_timeout_in_ms=120000
    ports:
      - "127.0.0.1:8500:8500"  # gRPC
      - "127.0.0.1:8501:8501"  # REST and metrics
    volumes:
      - ./1:/models/@NAME@/1:ro
      - ./models.config:/config/models.config:ro
      - ./batching.config:/config/batching.config:ro
      - ./monitoring.config:/config/monitoring.config:ro
    restart: unless-stopped
""",
}


def write_serving_files(folder: pathlib.Path, name: str) -> None:
    """Writes configuration for TensorFlow Serving beside the model's version folder `1`.

    Args:
        folder: Folder that holds `1`.
        name: Name of the model on the server.
    """
    for file, text in _FILES.items():
        text = text.replace("@NAME@", name).replace("@MAX_BATCH@", str(MAX_BATCH))
        (pathlib.Path(folder) / file).write_text(text, encoding="utf-8")
