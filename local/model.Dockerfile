# The demo's model: KServe's own ModelServer, in an environment of its own. Build it from the repository's root:
#   docker build -f local/model.Dockerfile -t wayside-model:0.1.0 .
FROM python:3.13-slim AS build
ENV PIP_REQUIRE_HASHES=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints/model-server.txt /src/versions.txt
RUN python -m venv /opt/model && /opt/model/bin/pip install -r /src/versions.txt

FROM python:3.13-slim
COPY --from=build /opt/model /opt/model
COPY local/wayside/local/demo/model_server.py /opt/model/model_server.py
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/model/bin/python", "/opt/model/model_server.py"]
