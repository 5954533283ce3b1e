package engine

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Cookie describes the session cookie. Its value is the session id.
type Cookie struct {
	// Name, default "io".
	Name string
	// Path, default "/".
	Path string
	// Domain, default none.
	Domain string
	// MaxAge in whole seconds; 0 leaves it out, a negative value means 0.
	MaxAge time.Duration
	// Expires; the zero time leaves it out.
	Expires time.Time
	// DisableHTTPOnly leaves the HttpOnly attribute out.
	DisableHTTPOnly bool
	// Secure and Partitioned add these attributes.
	Secure, Partitioned bool
	// Priority is "low", "medium" or "high"; default none.
	Priority string
	// SameSite is "lax" (the default), "strict" or "none".
	SameSite string
}

// cookieWriter has everything of the header line but the value.
type cookieWriter struct{ before, after string }

func newCookieWriter(c *Cookie) (*cookieWriter, error) {
	name, path, sameSite := c.Name, c.Path, c.SameSite
	if name == "" {
		name = "io"
	}
	if path == "" {
		path = "/"
	}
	if sameSite == "" {
		sameSite = "lax"
	}
	if err := (&http.Cookie{Name: name, Value: "v", Path: path, Domain: c.Domain}).Valid(); err != nil {
		return nil, fmt.Errorf("cookie: %w", err)
	}
	var b strings.Builder
	if c.MaxAge != 0 {
		b.WriteString("; Max-Age=" + strconv.FormatInt(max(0, int64(c.MaxAge/time.Second)), 10))
	}
	if c.Domain != "" {
		b.WriteString("; Domain=" + c.Domain)
	}
	b.WriteString("; Path=" + path)
	if !c.Expires.IsZero() {
		b.WriteString("; Expires=" + c.Expires.UTC().Format(http.TimeFormat))
	}
	for _, flag := range []struct {
		on   bool
		text string
	}{{!c.DisableHTTPOnly, "; HttpOnly"}, {c.Secure, "; Secure"}, {c.Partitioned, "; Partitioned"}} {
		if flag.on {
			b.WriteString(flag.text)
		}
	}
	if c.Priority != "" {
		text, ok := map[string]string{"low": "Low", "medium": "Medium", "high": "High"}[strings.ToLower(c.Priority)]
		if !ok {
			return nil, fmt.Errorf("cookie priority %q must be low, medium or high", c.Priority)
		}
		b.WriteString("; Priority=" + text)
	}
	text, ok := map[string]string{"lax": "Lax", "strict": "Strict", "none": "None"}[strings.ToLower(sameSite)]
	if !ok {
		return nil, fmt.Errorf("cookie same-site %q must be lax, strict or none", c.SameSite)
	}
	b.WriteString("; SameSite=" + text)
	return &cookieWriter{before: name + "=", after: b.String()}, nil
}

func (c *cookieWriter) line(id string) string { return c.before + id + c.after }
