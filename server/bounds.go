package server

import (
	"fmt"
	"math"

	"github.com/sockeye-io/sockeye/internal/rooms"
)

// limitKind is a kind of quantity that Options bound, for Stats.Limits.
type limitKind uint8

const (
	limitNamespaces limitKind = iota
	limitAttempts
	limitDynamicNamespaces
	limitAuth
	limitName
	limitRooms
	limitData
	limitPendingAcks
	limitConnecting
	limitKinds
)

var limitNames = [limitKinds]string{
	"namespaces", "attempts", "dynamic_namespaces", "auth", "name", "rooms", "data", "pending_acks", "connecting",
}

// What a connection is charged for, see engine.Session.KeepState, beside the bytes of auth objects, names and data.
const (
	socketCost = 1 << 10
	roomCost   = 320 // a room with one member: the entries in the room index and in the member's set
	valueCost  = 128
)

// exceeded counts a limit that was hit and returns the error for it.
func (srv *Server) exceeded(kind limitKind, what string, limit int64) error {
	srv.limitHits[kind].Add(1)
	err := fmt.Errorf("%w: %s, at most %d", ErrLimit, what, limit)
	if held, ok := srv.warnedLimit[kind].Pass(warnInterval); ok {
		srv.opts.Logger.Warn("a client has reached a limit", "limit", limitNames[kind], "error", err, "notLogged", held)
	}
	return err
}

// errFull is the ErrLimit of what all clients keep together.
var errFull = fmt.Errorf("%w: clients keep as much as EngineOptions.StateTotal allows", ErrLimit)

// keep charges the connection for what a socket keeps. It returns ErrLimit if the server has no room.
func (c *client) keep(n int64) error {
	if c.session.KeepState(n) {
		return nil
	}
	return errFull
}

func changeOf(names []string) rooms.Change {
	c := rooms.Change{Rooms: len(names)}
	for _, name := range names {
		c.Bytes += len(name)
	}
	return c
}

// costOf is what rooms are charged.
func costOf(c rooms.Change) int64 { return int64(c.Rooms)*roomCost + int64(c.Bytes) }

// join puts the socket into rooms, within its limits: into all or none.
func (s *Socket) join(names []string) error {
	srv := s.nsp.server
	if len(srv.hooks.beforeJoin) > 0 {
		if err := s.mayJoin(names); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := srv.checkName("name of a room", name); err != nil {
			return err
		}
	}
	// What rooms would cost that the socket is in already is given back.
	all := changeOf(names)
	if err := s.client.keep(costOf(all)); err != nil {
		return err
	}
	added, result := s.nsp.index.AddWithin(member{s}, srv.opts.MaxRooms, names...)
	s.client.session.ReleaseState(costOf(all) - costOf(added))
	switch result {
	case rooms.Gone:
		return s.disconnectError()
	case rooms.Full:
		return srv.exceeded(limitRooms, fmt.Sprintf("%d more rooms of a socket", len(names)), int64(srv.opts.MaxRooms))
	}
	if added.Rooms > 0 {
		s.roomsChanged(names)
	}
	return nil
}

// restoreRooms puts a socket that goes on into its former rooms, which were within its limits.
func (s *Socket) restoreRooms(names []string) error {
	all := changeOf(names)
	if err := s.client.keep(costOf(all)); err != nil {
		return err
	}
	added, result := s.nsp.index.AddWithin(member{s}, math.MaxInt, names...)
	s.client.session.ReleaseState(costOf(all) - costOf(added))
	if result == rooms.Gone {
		return s.disconnectError()
	}
	return nil
}

func (s *Socket) leave(names []string) {
	removed := s.nsp.index.Remove(member{s}, names...)
	s.client.session.ReleaseState(costOf(removed))
	if removed.Rooms > 0 {
		s.roomsChanged(names)
	}
}

// leaveAll takes a socket that has closed out of all rooms, for good, and returns them. What it was charged ends. It may be
// called with locks held.
func (s *Socket) leaveAll() []string {
	names, all := s.nsp.index.RemoveAll(member{s})
	if names == nil {
		return nil
	}
	freed := costOf(all) + int64(s.kept)
	if d := s.data.Load(); d != nil {
		freed += d.discharge()
	}
	s.client.session.ReleaseState(freed)
	return names
}

// checkName bounds names that clients may have chosen.
func (srv *Server) checkName(what, name string) error {
	if limit := srv.opts.MaxName; len(name) > limit {
		return srv.exceeded(limitName, fmt.Sprintf("%d bytes in the %s", len(name), what), int64(limit))
	}
	return nil
}
