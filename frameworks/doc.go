// Package frameworks holds no code that runs: its tests mount a server in the HTTP frameworks that people use, and run it
// behind the proxies of deploy/. docs/frameworks.md tells what they show. It is a module of its own, so that no user of the
// library downloads frameworks.
package frameworks
