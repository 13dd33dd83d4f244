# The image of respool: one static program, nothing else. It runs as a user without rights.
#
#   make package                                                  builds dist/image, which this file copies
#   docker buildx build --platform linux/amd64,linux/arm64 .      builds the image for both architectures
#
# Nothing runs during the build, so it needs neither emulation nor a network.
FROM scratch
ARG TARGETARCH
COPY dist/image/linux-${TARGETARCH}/ /
USER 65532:65532
# Clients of serve, its pages, and the pages of watch.
EXPOSE 6380 8638 8637
ENTRYPOINT ["/usr/bin/respool"]
