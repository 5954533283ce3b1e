package load

import "context"

// Session is what a client keeps of its connections for connection state recovery, as the npm client does. It is used by one connection at
// a time. The zero value is that of a client that comes for the first time.
type Session struct{ session session }

// Resume is Connect, in no room, for a client that comes back with its session. It reports whether the server has gone on with it. Events
// may come to handler before Resume returns.
func Resume(ctx context.Context, t *Target, index int, handler Handler, s *Session) (c *Client, recovered bool, err error) {
	c, err = resume(ctx, t, nil, "", index, handler, &s.session)
	return c, err == nil && c.recovered, err
}
