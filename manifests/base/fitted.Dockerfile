# Detectors with what `wayside fit` made, so that a Knative revision names code and artifact alike, and any node can run
# it. The context is a folder that holds artifacts/outlier and artifacts/drift:
#   docker build -f manifests/base/fitted.Dockerfile -t wayside-fitted:0.1.0 .state/cluster
FROM wayside-detectors:0.1.0
COPY artifacts/outlier /artifacts/outlier
COPY artifacts/drift /artifacts/drift
