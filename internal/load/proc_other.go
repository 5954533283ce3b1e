//go:build !linux

package load

import (
	"errors"
	"time"
)

var errNoProc = errors.New("the use of another process can be read on Linux only")

type stat struct{ cpu time.Duration }

func readStat(int) (stat, error)      { return stat{}, errNoProc }
func readResident(int) (int64, error) { return 0, errNoProc }
func tree(int) ([]int, error)         { return nil, errNoProc }
func ownCPU() time.Duration           { return 0 }
func maxDescriptors() int             { return 1 << 10 }
