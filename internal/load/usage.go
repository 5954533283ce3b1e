package load

import "time"

// Process is the server whose use of CPU and memory is read; the zero value stands for none.
type Process struct {
	PID    int
	Others []int // of the other nodes, whose use is added
	Tree   bool  // with all processes below them
}

// usage is what a server has used so far, and what it occupies.
type usage struct {
	cpu      time.Duration
	resident int64 // bytes
}

// read looks at the operating system. CPU of a child that has ended is not seen.
func (p Process) read() (usage, error) {
	var sum usage
	for _, pid := range append([]int{p.PID}, p.Others...) {
		one, err := readOne(pid, p.Tree)
		if err != nil {
			return usage{}, err
		}
		sum.cpu += one.cpu
		sum.resident += one.resident
	}
	return sum, nil
}

func readOne(pid int, below bool) (usage, error) {
	pids := []int{pid}
	if below {
		var err error
		if pids, err = tree(pid); err != nil {
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
