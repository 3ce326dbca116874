# rlvr with its CUDA stack: `docker build -f docker/cuda.Dockerfile -t rlvr:cuda .` from the root of the checkout.
# CUDA 13.0 is what the torch of constraints-cuda.txt is built for. The devel image has nvcc, which vLLM's
# FlashInfer kernels and our own divergence kernel are compiled with at their first use.
FROM nvidia/cuda:13.0.3-devel-ubuntu24.04

# ibverbs: NCCL looks for it on nodes that are joined by InfiniBand.
# The release in the tag fixes the packages' versions but for security updates, which we want.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        g++ ibverbs-providers libibverbs1 libnuma1 python3.12-dev python3.12-venv tini \
    && rm -rf /var/lib/apt/lists/*

# Ubuntu's image comes with a user of the same number.
ARG UID=1000
RUN if id ubuntu; then userdel ubuntu && rm -rf /home/ubuntu; fi \
    && useradd --create-home --uid "${UID}" rlvr \
    && python3.12 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app

# The dependencies make one large layer, which lasts until pyproject.toml or the pins change.
COPY pyproject.toml ./
COPY docker/install_cuda.sh docker/steps.sh docker/requirements.py docker/constraints-cuda.txt docker/
RUN bash docker/install_cuda.sh /opt/venv/bin/python dependencies

COPY README.md LICENSE setup.py ./
COPY recipes recipes
COPY launch launch
COPY rlvr rlvr
COPY docker/health.py docker/
RUN bash docker/install_cuda.sh /opt/venv/bin/python package \
    && install --directory --owner=rlvr --group=rlvr runs /home/rlvr/.cache /home/rlvr/.cache/huggingface

USER ${UID}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD ["python", "docker/health.py"]
# tini reaps the processes that a dying actor leaves behind, and hands signals on.
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "rlvr.train", "--help"]
