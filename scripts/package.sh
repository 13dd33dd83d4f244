#!/bin/sh
# Builds what is installed into dist/: packages for Debian and RPM systems and the file tree of the
# image, each for amd64 and arm64, and the manifests of Kubernetes. Checks the Dockerfile and the
# manifests. The same commit and the same Go make the same files.
set -eu
umask 022 # the user of the image runs the program

cd "$(dirname "$0")/.."
version=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' ./*.go)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH VERSION="$version" CGO_ENABLED=0

rm -rf dist/image dist/share dist/packages dist/kubernetes
mkdir -p dist/share dist/packages dist/kubernetes

# The tools have their own module, since the others need none of their dependencies.
GOWORK=off go -C packaging build -o ../dist/tools/ . github.com/goreleaser/nfpm/v2/cmd/nfpm

dist/tools/packaging dockerfile Dockerfile
dist/tools/packaging manifest examples/serve/kubernetes.yaml
dist/tools/packaging kustomize examples/serve/kustomize >dist/kubernetes/respool.yaml

# The documents come from this system's program.
go build -o dist/tools/respool ./cmd/respool
for shell in bash zsh fish; do
	dist/tools/respool completion $shell >dist/share/respool.$shell
done
dist/tools/respool man | gzip -9n >dist/share/respool.1.gz

for arch in amd64 arm64; do
	mkdir -p dist/image/linux-$arch/usr/bin
	GOOS=linux GOARCH=$arch go build -trimpath -ldflags='-s -w' -o dist/image/linux-$arch/usr/bin/respool ./cmd/respool
	for format in deb rpm; do
		ARCH=$arch dist/tools/nfpm package -f packaging/nfpm.yaml -p $format -t dist/packages/
	done
done
find dist/image -exec touch -d "@$SOURCE_DATE_EPOCH" {} + # the layer of the image contains the times
(cd dist && sha256sum packages/* kubernetes/* image/*/usr/bin/respool)
