package api_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/api"
)

// revoker notes what it is asked, and fails with err.
type revoker struct {
	asked []string
	err   error
}

func (v *revoker) RevokeBefore(_ context.Context, user string, before time.Time) error {
	v.asked = append(v.asked, fmt.Sprint("revoke ", user, time.Since(before)))
	return v.err
}

func (v *revoker) DisconnectUser(_ context.Context, user string) error {
	v.asked = append(v.asked, "disconnect "+user)
	return v.err
}

// TestRevoke: tokens of a user are void until now, or a bit before or after it, and what fails is said.
func TestRevoke(t *testing.T) {
	bubble(t, "n1", func(t *testing.T, w *world, nodes []*node) {
		one := nodes[0]
		for _, what := range []string{"revoke", "disconnect"} {
			one.refused(one.ask(allSecret, "POST", "/v1/users/ann/"+what, ""), 404, "no_authentication")
		}
		v := new(revoker)
		with, err := api.New(one.srv, &api.Options{Tokens: tokens, Revoker: v, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		defer with.Close()
		one.api.Close()
		one.api = with
		var answer struct {
			User   string
			Before time.Time
		}
		one.post("/v1/users/a%2Fb%20c/revoke", "", &answer)
		if answer.User != "a/b c" || !answer.Before.Equal(time.Now()) {
			t.Errorf("answered %+v", answer)
		}
		one.post("/v1/users/ann/revoke", `{"ago":"10m","ahead":"5s"}`, nil)
		one.post("/v1/users/ann/disconnect", "", nil)
		if want := []string{"revoke a/b c0s", "revoke ann9m55s", "disconnect ann"}; !slices.Equal(v.asked, want) {
			t.Errorf("asked %q, want %q", v.asked, want)
		}

		for _, body := range []string{`{"ago":"-1s"}`, `{"ahead":"8785h"}`, `{"ago":"soon"}`, `{"before":"2026-01-01T00:00:00Z"}`} {
			one.refused(one.ask(allSecret, "POST", "/v1/users/ann/revoke", body), 400, "invalid")
		}
		for _, what := range []string{"revoke", "disconnect"} {
			one.refused(one.ask(readSecret, "POST", "/v1/users/ann/"+what, ""), 403, "forbidden")
		}
		if len(v.asked) != 3 {
			t.Errorf("what is refused was asked: %q", v.asked[3:])
		}

		for err, reason := range map[error]string{server.ErrClusterUnavailable: "cluster_unavailable", errors.New("nobody knows"): "untold"} {
			v.err = fmt.Errorf("tell the nodes: %w", err)
			one.refused(one.ask(allSecret, "POST", "/v1/users/ann/revoke", ""), 503, "unavailable")
			var d done
			one.post("/v1/users/ann/disconnect", "", &d)
			if !d.Partial || d.Reason != reason {
				t.Errorf("%v: answered %+v, want it partial with %q", err, d, reason)
			}
		}
	})
}
