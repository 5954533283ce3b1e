package load

import "time"

// Process is the server whose use of CPU and memory is read; the zero value stands for none.
type Process struct {
	PID  int
	Tree bool // with all processes below it
}

// usage is what a server has used so far, and what it occupies.
type usage struct {
	cpu      time.Duration
	resident int64 // bytes
}

// read looks at the operating system. CPU of a child that has ended is not seen.
func (p Process) read() (usage, error) {
	pids := []int{p.PID}
	if p.Tree {
		var err error
		if pids, err = tree(p.PID); err != nil {
			return usage{}, err
		}
	}
	var sum usage
	for i, pid := range pids {
		s, err := readStat(pid)
		if err == nil {
			var resident int64
			if resident, err = readResident(pid); err == nil {
				sum.cpu += s.cpu
				sum.resident += resident
			}
		}
		if err != nil && i == 0 { // one below it may have ended meanwhile
			return usage{}, err
		}
	}
	return sum, nil
}

// slope returns the least squares slope of bytes over clients.
func slope(points []MemoryPoint, bytes func(MemoryPoint) int64) float64 {
	var n, sumX, sumY, sumXX, sumXY float64
	for _, p := range points {
		x, y := float64(p.Clients), float64(bytes(p))
		n++
		sumX, sumY, sumXX, sumXY = sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	if d := n*sumXX - sumX*sumX; d != 0 {
		return (n*sumXY - sumX*sumY) / d
	}
	return 0
}
