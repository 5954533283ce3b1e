package acceptencoding

import (
	"strings"
	"testing"
)

// TestPreferred has what the npm package negotiator answers.
func TestPreferred(t *testing.T) {
	for accept, want := range map[string]string{
		"": "", "gzip": "gzip", "GZIP": "gzip", "identity": "", "deflate": "deflate", "gzip, deflate, br": "gzip deflate",
		"deflate, gzip": "deflate gzip", "gzip;q=0.1, deflate;q=0.2": "deflate gzip", "gzip;q=0": "", "*;q=0": "",
		"*;q=0.5, deflate;q=0.4": "gzip deflate", "gzip;level=1;q=0.3,deflate;q=0.31": "deflate gzip", "gzip;q=x": "",
		"gzip ; q=1": "gzip", ",,gzip": "gzip", "*": "gzip deflate", "deflate;q=1, *;q=1": "deflate gzip",
	} {
		if got := strings.Join(Preferred([]string{accept}, "gzip", "deflate"), " "); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
	if got := Preferred([]string{"gzip;q=0.5", "br"}, "gzip", "br"); len(got) != 2 || got[0] != "br" {
		t.Errorf("two headers: %q", got)
	}
}
