// Command apidoc prints the `go doc -all` output of every public package of the module, the text of docs/api.txt.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const module = "github.com/sockeye-io/sockeye"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "apidoc:", err)
		os.Exit(1)
	}
}

func run() error {
	out, err := exec.Command("go", "list", module+"/server/...", module+"/adapter/...").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	for _, path := range strings.Fields(string(out)) {
		if strings.Contains(path, "/internal/") {
			continue
		}
		doc, err := exec.Command("go", "doc", "-all", path).Output()
		if err != nil {
			return fmt.Errorf("go doc %s: %w", path, err)
		}
		fmt.Printf("==== %s\n\n%s\n", strings.TrimPrefix(path, module+"/"), strings.TrimRight(string(doc), "\n"))
	}
	return nil
}
