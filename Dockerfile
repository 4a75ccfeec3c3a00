# The desk for CPUs: `docker build -t picdesk .`, then see compose.yaml. Data, outputs and token come in by volumes; nothing is baked in.
FROM python:3.11-slim AS built
WORKDIR /app
RUN python -m venv .venv && .venv/bin/pip install --quiet --no-cache-dir uv
COPY Makefile pyproject.toml setup.py requirements.lock README.md LICENSE ./
COPY src src
# torch without CUDA, from where its makers keep such builds; all else by the hashes of the lock. Byte code is compiled here, once.
RUN apt-get update && apt-get install --yes --no-install-recommends make git \
    && make .venv/.ready TORCH=cpu

FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home desk && mkdir -p /app/outputs /data && chown desk /app/outputs
WORKDIR /app
COPY --from=built /app/.venv .venv
COPY src src
COPY conf conf
COPY data data
COPY serve.py retrieve.py train.py evaluate.py pyproject.toml ./
RUN .venv/bin/python -m compileall -q src
USER desk
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 WANDB_MODE=offline
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "serve.py", "serve.host=0.0.0.0", "logger=none"]
CMD ["ckpt=latest", "serve.token_file=/run/secrets/desk_token"]
