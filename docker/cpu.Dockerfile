# rlvr with its CPU stack: `docker build -f docker/cpu.Dockerfile -t rlvr:cpu .` from the root of the checkout.
FROM python:3.11.15-slim-bookworm

# libnuma1: vLLM's library links it.
# The release in the tag fixes the packages' versions but for security updates, which we want.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnuma1 tini \
    && rm -rf /var/lib/apt/lists/*

ARG UID=1000
RUN useradd --create-home --uid "${UID}" rlvr \
    && python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app

# The dependencies make one large layer, which lasts until pyproject.toml or the pins change.
COPY pyproject.toml ./
COPY docker/install_cpu.sh docker/steps.sh docker/requirements.py docker/constraints-cpu.txt docker/
RUN bash docker/install_cpu.sh /opt/venv/bin/python dependencies

COPY README.md LICENSE setup.py ./
COPY recipes recipes
COPY launch launch
COPY rlvr rlvr
COPY docker/health.py docker/
RUN bash docker/install_cpu.sh /opt/venv/bin/python package \
    && install --directory --owner=rlvr --group=rlvr runs /home/rlvr/.cache /home/rlvr/.cache/huggingface

USER ${UID}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD ["python", "docker/health.py"]
# tini reaps the processes that a dying actor leaves behind, and hands signals on.
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "rlvr.train", "recipe=dapo_divweight"]
