package deploy

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// compose reads compose.yaml and what changes it as Docker does: by the schema of Compose, with what it names filled in.
func compose(t *testing.T, more ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions(append([]string{"compose.yaml"}, more...), cli.WithoutEnvironmentResolution, cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestCompose: what compose.yaml mounts is there, and only clients come in from other machines.
func TestCompose(t *testing.T) {
	project := compose(t)
	if _, err := os.Stat(project.Services["node-1"].Build.Context + "/Dockerfile"); err != nil {
		t.Error(err)
	}
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, config := range service.Configs {
			if _, ok := project.Configs[config.Source]; !ok {
				t.Errorf("%s: there is no config %s", name, config.Source)
			}
		}
		for _, port := range service.Ports {
			if name != "nginx" && port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published to other machines", name, port.Published)
			}
		}
	}
}

// proxied are the addresses of nodes in a configuration of nginx, without what is said above the first block.
var proxied = regexp.MustCompile(`server ([\d.]+:\d+)`)

// TestComposeNginx: nginx of compose.yaml has sockeye.conf, with the addresses of the nodes in compose.yaml.
func TestComposeNginx(t *testing.T) {
	project := compose(t)
	_, tested, _ := strings.Cut(read(t, "nginx/sockeye.conf"), "\n\n")
	_, used, _ := strings.Cut(read(t, "nginx/compose.conf"), "\n\n")
	for _, name := range []string{"node-1", "node-2", "node-3"} {
		from := "127.0.0.1:300" + strings.TrimPrefix(name, "node-")
		to := project.Services[name].Networks["cluster"].Ipv4Address + ":3000"
		tested = strings.ReplaceAll(tested, from, to)
	}
	if tested != used || len(proxied.FindAllString(used, -1)) != 3 {
		t.Errorf("nginx/compose.conf is not nginx/sockeye.conf with other addresses:\n%s", used)
	}
	mount := project.Services["nginx"].Volumes[0]
	if filepath.Base(mount.Source) != "compose.conf" || !strings.HasPrefix(mount.Target, "/etc/nginx/conf.d/") {
		t.Errorf("nginx reads %s at %s", mount.Source, mount.Target)
	}
}

// TestComposePrometheus: Prometheus takes its configuration in compose.yaml, and asks each node where it serves operators.
func TestComposePrometheus(t *testing.T) {
	promtool := require(t, "promtool", "prometheus")
	project := compose(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	write(t, file, project.Configs["prometheus"].Content)
	write(t, filepath.Join(dir, "rules.yml"), read(t, "prometheus/rules.yml"))
	output(t, "", promtool, "check", "config", file)
	for _, node := range []string{"node-1", "node-2", "node-3"} {
		if target := node + *project.Services[node].Environment["SOCKEYE_ADMIN_ADDR"]; !strings.Contains(project.Configs["prometheus"].Content, `"`+target+`"`) {
			t.Errorf("Prometheus does not ask %s", target)
		}
	}
}
