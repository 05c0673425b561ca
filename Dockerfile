# A model's web page, HTTP service or commands, on CPUs.
#
#   docker build -t sivae-translate .
#   docker run --rm -v "$PWD:/work" sivae-translate translate glyphs-64 letters --to dejavu-serif --out serif
#   docker run --rm -p 127.0.0.1:7860:7860 sivae-translate serve glyphs-64 --host 0.0.0.0 --port 7860
FROM python:3.12-slim
# PyTorch for CPUs is a tenth of the size of that with CUDA: --build-arg TORCH="--index-url ...", as PyTorch's
# own page says, chooses it.
ARG TORCH=""
RUN pip install --no-cache-dir torch $TORCH
COPY setup.py pyproject.toml README.md LICENSE /src/
COPY sivae_translate /src/sivae_translate
COPY assets /src/assets
COPY configs /src/configs
RUN pip install --no-cache-dir '/src[web,hub]' && rm -rf /src
COPY examples/http_server.py /opt/http_server.py
RUN useradd --create-home user && mkdir /work && chown user /work
USER user
WORKDIR /work
ENTRYPOINT ["sivae-translate"]
CMD ["--help"]
