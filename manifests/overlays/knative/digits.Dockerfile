# The demo's model with its training rows. The context is a folder that `wayside demo --only prepare` wrote:
#   docker build -f manifests/overlays/knative/digits.Dockerfile -t wayside-digits:0.1.0 .state/cluster
FROM wayside-model:0.1.0
COPY train.npz /train.npz
