package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/admin"
)

// adminUIFlags let the page of the npm package @socket.io/admin-ui in, on the address for clients as in Node.
type adminUIFlags struct {
	AdminUIUser             string     `name:"admin-ui-user" placeholder:"NAME" help:"Let operators watch and steer this node with the page of the npm package @socket.io/admin-ui, who log in by this name to the namespace /admin of the address for clients; off by default. The page's origin must be among --cors-origin, with --cors-credentials."`
	AdminUIPasswordHash     string     `name:"admin-ui-password-hash" secret:"whole" placeholder:"HASH" help:"bcrypt hash of the password, as sockeye hash-password prints it; better given as SOCKEYE_ADMIN_UI_PASSWORD_HASH or in a file."`
	AdminUIPasswordHashFile string     `name:"admin-ui-password-hash-file" type:"existingfile" help:"File with that hash."`
	AdminUIMode             admin.Mode `name:"admin-ui-mode" enum:"production,development" default:"production" help:"production tells the page numbers alone; development also tells it of every socket, room and event, which is for small clusters."`
	AdminUIReadonly         bool       `name:"admin-ui-readonly" help:"Let operators watch alone."`
}

func (f *adminUIFlags) validateAdminUI(app string) error {
	switch {
	case f.AdminUIUser == "":
		for _, flag := range []flag{
			{"--admin-ui-password-hash", f.AdminUIPasswordHash != ""},
			{"--admin-ui-password-hash-file", f.AdminUIPasswordHashFile != ""},
			{"--admin-ui-mode", f.AdminUIMode == admin.Development},
			{"--admin-ui-readonly", f.AdminUIReadonly},
		} {
			if flag.given {
				return fmt.Errorf("%s needs --admin-ui-user", flag.name)
			}
		}
		return nil
	case app == "engine":
		return errors.New("--admin-ui-user is for Socket.IO; the engine app has no namespaces")
	case (f.AdminUIPasswordHash == "") == (f.AdminUIPasswordHashFile == ""):
		return errors.New("--admin-ui-user needs one of --admin-ui-password-hash and --admin-ui-password-hash-file")
	}
	return nil
}

// startAdminUI adds the namespace, whose sessions the broker keeps if it can; nil without the flags.
func (f *adminUIFlags) startAdminUI(srv *server.Server, others *cluster, log *slog.Logger) (*admin.Admin, error) {
	if f.AdminUIUser == "" {
		return nil, nil
	}
	hash := f.AdminUIPasswordHash
	if f.AdminUIPasswordHashFile != "" {
		text, err := os.ReadFile(f.AdminUIPasswordHashFile)
		if err != nil {
			return nil, fmt.Errorf("--admin-ui-password-hash-file: %w", err)
		}
		hash = strings.TrimSpace(string(text))
	}
	opts := admin.Options{
		Auth: &admin.BasicAuth{Username: f.AdminUIUser, PasswordHash: hash},
		Mode: f.AdminUIMode, ReadOnly: f.AdminUIReadonly, Logger: log,
	}
	if others != nil {
		opts.Store = others.adminStore()
	}
	ui, err := admin.Instrument(srv, &opts)
	if err != nil {
		return nil, fmt.Errorf("%w; the --admin-ui flags say who may log in", err)
	}
	return ui, nil
}

// hashCommand is `sockeye hash-password`.
type hashCommand struct {
	Cost int `default:"10" help:"How long checking a password takes: one more doubles it; 10 is some 50 ms. From 8 to 14."`

	in io.Reader // standard input, but in tests
}

// Help is what --help says besides the flags.
func (*hashCommand) Help() string {
	return `Reads a line with a password from standard input and prints its bcrypt hash, for --admin-ui-password-hash.

Examples:
  sockeye hash-password < password.txt > hash.txt
  sockeye serve --admin-ui-user ann --admin-ui-password-hash-file hash.txt`
}

// Validate is called by the flag parser.
func (c *hashCommand) Validate() error {
	if c.Cost < 8 || c.Cost > 14 {
		return fmt.Errorf("--cost must be from 8 to 14, got %d", c.Cost)
	}
	return nil
}

// maxPassword is what bcrypt looks at, in bytes.
const maxPassword = 72

// Run prints the hash.
func (c *hashCommand) Run(out *streams) error {
	in := c.in
	if in == nil {
		in = os.Stdin
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read password: %w", err)
	}
	password := strings.TrimRight(line, "\r\n")
	switch {
	case password == "":
		return usageError{errors.New("standard input has no password in its first line")}
	case len(password) > maxPassword:
		return usageError{fmt.Errorf("the password has %d bytes, bcrypt takes %d at most", len(password), maxPassword)}
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), c.Cost)
	if err != nil {
		return fmt.Errorf("hash password: %w", err)
	}
	_, err = fmt.Fprintln(out.stdout, string(hash))
	return err
}
