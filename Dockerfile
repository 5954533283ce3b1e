# The image of a node: the binary, the certificates of public authorities, licences, and nothing else. It needs BuildKit, which is
# Docker's default.
#
#   docker build -t sockeye .
#   docker run -p 3000:3000 sockeye
#   docker run -p 3000:3000 sockeye serve --redis redis://redis.internal --adapter sharded --node-name chat-1
#
# Every flag is an environment variable, too. A test in deploy/ runs the steps of this file without an engine.

# The page and the client bundles, which are the same for every platform.
FROM --platform=$BUILDPLATFORM node:22-bookworm-slim AS page
WORKDIR /src/web-demo
COPY web-demo/package.json web-demo/package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY web-demo/ ./
RUN mkdir -p dist && npm run build

# The Go compiler makes the binary of any platform on the one that builds. The commit comes from .git, which is why that is not in
# .dockerignore.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . ./
COPY --from=page /src/web-demo/dist/ web-demo/dist/
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    mkdir -p /out && \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=auto -ldflags "-s -w -buildid=" -o /out/sockeye ./cmd/sockeye && \
    go run ./internal/release -licences /out/THIRD-PARTY-LICENSES

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /
COPY LICENSE /
LABEL org.opencontainers.image.title="sockeye" \
      org.opencontainers.image.description="A Socket.IO server" \
      org.opencontainers.image.source="https://github.com/sockeye-io/sockeye"

# A user without a name, a home or a file.
USER 65532:65532
# Clients; operators. The second is for the machine's own network: never publish it.
EXPOSE 3000 9000
# Only who is in the container reaches it, as the health check is. An orchestrator that asks from outside sets :9000.
ENV SOCKEYE_ADMIN_ADDR=127.0.0.1:9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/sockeye", "health"]
# SIGTERM drains, for 16 s at most by default, and then handlers have 10 s: `docker stop --timeout 30`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/sockeye"]
CMD ["serve"]
