# docker build -t darts-nas .
# docker run --rm -v "$PWD/runs:/work/runs" darts-nas find dataset=digits budget.minutes=5
#
# For a GPU, choose a base image with CUDA and Python 3.10 or newer, and run it with --gpus all:
#   docker build -t darts-nas --build-arg BASE=pytorch/pytorch:latest .
ARG BASE=python:3.12-slim
FROM ${BASE}
COPY . /src
RUN python -m pip install --no-cache-dir "/src[export]" && rm -rf /src
RUN useradd --create-home user && mkdir /work && chown user /work
USER user
WORKDIR /work
ENTRYPOINT ["darts"]
CMD ["--help"]
