package deploy

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// flag is one that a help text tells.
var flag = regexp.MustCompile(`--(?:\[no-\])?([a-z][a-z0-9-]*)`)

// checkConfig asks the binary whether it would start with these flags and this environment, and nothing else. A variable that is
// no flag would be overlooked.
func checkConfig(t *testing.T, env []string, args ...string) {
	t.Helper()
	flags := make(map[string]bool)
	for _, found := range flag.FindAllStringSubmatch(output(t, "", binary(t), "serve", "--help"), -1) {
		flags[found[1]] = true
	}
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		if rest, own := strings.CutPrefix(name, "SOCKEYE_"); own && !flags[strings.ToLower(strings.ReplaceAll(rest, "_", "-"))] {
			t.Errorf("%s is no flag of the node", name)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary(t), append([]string{"check-config"}, args...)...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%q with %q: %v\n%s", args, env, err, out)
	}
}

// served returns the flags of a command line that begins with serve, with the path of the configuration replaced.
func served(t *testing.T, line []string, configuration string) []string {
	t.Helper()
	if len(line) == 0 || line[0] != "serve" {
		t.Fatalf("%q serves nothing", line)
	}
	flags := append([]string(nil), line[1:]...)
	for i, flag := range flags {
		if i > 0 && flags[i-1] == "--config" && flag == "/etc/sockeye/sockeye.yaml" {
			flags[i] = configuration
		}
	}
	return flags
}

// uncommented is a file with its examples, the lines "#name: value" and "#NAME=value", switched on, but for those that name
// files that are not there.
func uncommented(content string) string {
	return regexp.MustCompile(`(?m)^#([\w-]+(?:: |=).*)$`).ReplaceAllStringFunc(content, func(line string) string {
		if strings.Contains(line, "/etc/ssl/") || strings.HasSuffix(line, "=") {
			return line
		}
		return line[1:]
	})
}

// environment reads a file as systemd does: NAME=value, comments, blank lines.
func environment(t *testing.T, content string) (env []string) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(content))
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, line)
		}
	}
	return env
}

// TestSystemdConfiguration: the node takes the example files, as they are and with their examples.
func TestSystemdConfiguration(t *testing.T) {
	unit := read(t, "systemd/sockeye.service")
	line := strings.Fields(regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(unit)[1])
	settings, secrets := read(t, "systemd/sockeye.yaml"), read(t, "systemd/sockeye.env")
	for _, on := range []bool{false, true} {
		if on {
			settings, secrets = uncommented(settings), uncommented(secrets)
			if !strings.Contains(secrets, "\nSOCKEYE_REDIS=") || !strings.Contains(settings, "\nadapter: ") {
				t.Fatal("the examples are not switched on")
			}
		}
		file := filepath.Join(t.TempDir(), "sockeye.yaml")
		write(t, file, settings)
		checkConfig(t, environment(t, secrets), served(t, line[1:], file)...)
	}
	stop, err := time.ParseDuration(regexp.MustCompile(`(?m)^TimeoutStopSec=(.*)$`).FindStringSubmatch(unit)[1])
	if total := drainTime(t, []byte(settings)); err != nil || stop < total+10*time.Second {
		t.Errorf("systemd waits %v for the end of a node, %v, which may take %v", stop, err, total)
	}
}

// TestEmbeddedDropIn: the node takes the example with NATS inside, and nothing of it without a secret.
func TestEmbeddedDropIn(t *testing.T) {
	var env []string
	for _, match := range regexp.MustCompile(`(?m)^Environment=(.*)$`).FindAllStringSubmatch(read(t, "systemd/embedded.conf"), -1) {
		env = append(env, match[1])
	}
	file := filepath.Join(t.TempDir(), "sockeye.yaml")
	write(t, file, read(t, "systemd/sockeye.yaml"))
	checkConfig(t, append(env, "SOCKEYE_CLUSTER_SECRET=a secret of the cluster"), "--config", file)
	cmd := exec.CommandContext(t.Context(), binary(t), "check-config", "--config", file)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "--nats-route-secret") {
		t.Errorf("without a secret: %v, %s", err, out)
	}
}

// TestManifestsConfiguration: the node takes what the manifests give it, as Kubernetes would fill it in, and the port for operators
// is where the probes ask.
func TestManifestsConfiguration(t *testing.T) {
	m := readManifests(t)
	effective := m.checkConfig(t)
	for name, flag := range map[string]string{"http": "addr", "peers": "peer-addr", "admin": "admin-addr"} {
		for _, port := range m.container().Ports {
			if want := fmt.Sprint(":", port.ContainerPort); port.Name == name && effective[flag] != want {
				t.Errorf("%s is %v, and the port %s is %s", flag, effective[flag], name, want)
			}
		}
	}
}

// checkConfig asks the binary whether it would start with what a pod gives it, and returns the values of its flags.
func (m *manifests) checkConfig(t *testing.T) (effective map[string]any) {
	t.Helper()
	dir := t.TempDir()
	file, secrets := filepath.Join(dir, "sockeye.yaml"), filepath.Join(dir, "secrets")
	write(t, file, m.config.Data["sockeye.yaml"])
	m.mountSecrets(t, secrets)
	env := regexp.MustCompile(`(?m)^ENV (\S+=\S+)$`).FindStringSubmatch(read(t, "../Dockerfile"))[1:]
	values := make(map[string]string)
	for _, variable := range m.container().Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil {
			value = m.value(t, from)
		}
		for name, earlier := range values {
			value = strings.ReplaceAll(value, "$("+name+")", earlier)
		}
		if strings.Contains(value, "$(") {
			t.Errorf("%s=%s names a variable that is not there, or comes later", variable.Name, value)
		}
		values[variable.Name] = value
		env = append(env, variable.Name+"="+strings.Replace(value, "/etc/sockeye-secrets", secrets, 1))
	}
	args := served(t, m.container().Args, file)
	checkConfig(t, env, args...)
	config := exec.CommandContext(t.Context(), binary(t), append([]string{"config"}, args...)...)
	config.Env = env
	text, err := config.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &effective); err != nil {
		t.Fatal(err)
	}
	return effective
}

// mountSecrets writes the files of the secret that the pod sees.
func (m *manifests) mountSecrets(t *testing.T, dir string) {
	t.Helper()
	for _, volume := range m.pod().Volumes {
		if volume.Secret == nil {
			continue
		}
		for _, item := range volume.Secret.Items {
			value, ok := m.secret.StringData[item.Key]
			if !ok || volume.Secret.SecretName != m.secret.Name {
				t.Errorf("there is no %s in secret %s", item.Key, volume.Secret.SecretName)
			}
			write(t, filepath.Join(dir, item.Path), value)
		}
	}
}

// value is what a pod gets from elsewhere.
func (m *manifests) value(t *testing.T, from *corev1.EnvVarSource) string {
	t.Helper()
	switch {
	case from.FieldRef != nil:
		value, ok := map[string]string{"metadata.name": "sockeye-0", "status.podIP": "192.0.2.7"}[from.FieldRef.FieldPath]
		if !ok {
			t.Errorf("the test does not know %s", from.FieldRef.FieldPath)
		}
		return value
	case from.SecretKeyRef != nil:
		value, ok := m.secret.StringData[from.SecretKeyRef.Key]
		if !ok || from.SecretKeyRef.Name != m.secret.Name {
			t.Errorf("there is no %s in secret %s", from.SecretKeyRef.Key, from.SecretKeyRef.Name)
		}
		return value
	}
	t.Errorf("the test does not know %v", from)
	return ""
}

// TestComposeConfiguration: the nodes take the environment of compose.yaml, have names of their own, and time to drain.
func TestComposeConfiguration(t *testing.T) {
	checkCompose(t, compose(t))
}

// TestEmbeddedCompose: the same without Redis, where the nodes are each other's routes.
func TestEmbeddedCompose(t *testing.T) {
	project := compose(t, "compose.embedded.yaml")
	checkCompose(t, project)
	if _, there := project.Services["redis"]; there {
		t.Error("there is a Redis")
	}
	for _, name := range []string{"node-1", "node-2", "node-3"} {
		node := project.Services[name]
		if _, there := node.Environment["SOCKEYE_REDIS"]; there || len(node.DependsOn) > 0 {
			t.Errorf("%s needs Redis", name)
		}
		if routes := *node.Environment["SOCKEYE_NATS_ROUTES"]; !strings.Contains(routes, "nats://"+name+*node.Environment["SOCKEYE_NATS_EMBED"]) {
			t.Errorf("%s is not in the list %s", name, routes)
		}
	}
}

func checkCompose(t *testing.T, project *types.Project) {
	t.Helper()
	names := make(map[string]bool)
	for _, service := range []string{"node-1", "node-2", "node-3"} {
		node := project.Services[service]
		var env []string
		for name, value := range node.Environment {
			env = append(env, name+"="+*value)
		}
		checkConfig(t, env, served(t, node.Command, "")...)
		names[*node.Environment["SOCKEYE_NODE_NAME"]] = true
		drain, err := time.ParseDuration(*node.Environment["SOCKEYE_DRAIN_TIMEOUT"])
		const others = 11 * time.Second // --drain-grace and --shutdown-timeout by default
		if stop := time.Duration(*node.StopGracePeriod); err != nil || stop < drain+others+10*time.Second {
			t.Errorf("%s has %v to end, and may need %v (%v)", service, stop, drain+others, err)
		}
	}
	if len(names) != 3 {
		t.Errorf("the nodes are called %v", names)
	}
}
