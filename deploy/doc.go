// Package deploy holds no code that runs: its tests hold the files of this directory, and the Dockerfile, to what the binary
// takes and what systemd, Kubernetes and Compose make of them. The configurations of proxies are run by the tests in frameworks/. It is
// a module of its own, so that no user of the library downloads what reads those files.
package deploy
