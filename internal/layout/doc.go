// Package layout holds no code that runs: its tests keep the house in order. They check who imports whom and that
// docs/api.txt shows the public API as it is.
package layout
