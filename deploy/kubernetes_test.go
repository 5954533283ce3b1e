package deploy

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// manifests is what is in the files of kubernetes/, decoded into the types of Kubernetes: no field that they lack gets by.
type manifests struct {
	namespace  corev1.Namespace
	config     corev1.ConfigMap
	secret     corev1.Secret
	services   []corev1.Service
	nodes      appsv1.StatefulSet
	disruption policyv1.PodDisruptionBudget
	network    networkingv1.NetworkPolicy
	autoscaler autoscalingv2.HorizontalPodAutoscaler
	keda       scaledObject
	ingress    networkingv1.Ingress
}

func (m *manifests) pod() *corev1.PodSpec { return &m.nodes.Spec.Template.Spec }

func (m *manifests) container() *corev1.Container { return &m.pod().Containers[0] }

func readManifests(t *testing.T) *manifests {
	t.Helper()
	var m manifests
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		for _, document := range strings.Split(read(t, file), "\n---\n") {
			m.decode(t, file, []byte(document))
		}
	}
	return &m
}

func (m *manifests) decode(t *testing.T, file string, document []byte) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var into metav1.Object
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 Namespace":
		into = &m.namespace
	case "v1 ConfigMap":
		into = &m.config
	case "v1 Secret":
		into = &m.secret
	case "v1 Service":
		m.services = append(m.services, corev1.Service{})
		into = &m.services[len(m.services)-1]
	case "apps/v1 StatefulSet":
		into = &m.nodes
	case "policy/v1 PodDisruptionBudget":
		into = &m.disruption
	case "networking.k8s.io/v1 NetworkPolicy":
		into = &m.network
	case "autoscaling/v2 HorizontalPodAutoscaler":
		into = &m.autoscaler
	case "keda.sh/v1alpha1 ScaledObject":
		into = &m.keda
	case "networking.k8s.io/v1 Ingress":
		into = &m.ingress
	default:
		t.Fatalf("%s: the test does not know %s of %s", file, kind.Kind, kind.APIVersion)
	}
	if into.GetName() != "" {
		t.Errorf("%s: a second %s", file, kind.Kind)
	}
	if err := yaml.UnmarshalStrict(document, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, problem := range validation.NameIsDNSLabel(into.GetName(), false) {
		t.Errorf("%s: name %q: %s", file, into.GetName(), problem)
	}
	if kind.Kind != "Namespace" && into.GetNamespace() != "sockeye" {
		t.Errorf("%s: namespace %q", file, into.GetNamespace())
	}
}

// TestManifestsFit: names, labels and ports mean the same in all files.
func TestManifestsFit(t *testing.T) {
	m := readManifests(t)
	own := labels.Set(m.nodes.Spec.Template.Labels)
	selectors := map[string]*metav1.LabelSelector{
		"StatefulSet": m.nodes.Spec.Selector, "PodDisruptionBudget": m.disruption.Spec.Selector, "NetworkPolicy": &m.network.Spec.PodSelector,
		"nodes in the NetworkPolicy": m.network.Spec.Ingress[1].From[0].PodSelector,
	}
	for _, spread := range m.pod().TopologySpreadConstraints {
		selectors["spread over "+spread.TopologyKey] = spread.LabelSelector
	}
	for name, selector := range selectors {
		if s, err := metav1.LabelSelectorAsSelector(selector); err != nil || s.Empty() || !s.Matches(own) {
			t.Errorf("%s does not select the nodes: %v", name, err)
		}
	}
	ports := make(map[string]bool)
	for _, port := range m.container().Ports {
		ports[port.Name] = true
	}
	var used []intstr.IntOrString
	for _, service := range m.services {
		if s := labels.SelectorFromSet(service.Spec.Selector); s.Empty() || !s.Matches(own) {
			t.Errorf("service %s does not select the nodes", service.Name)
		}
		for _, port := range service.Spec.Ports {
			used = append(used, port.TargetPort)
		}
	}
	for _, rule := range m.network.Spec.Ingress {
		for _, port := range rule.Ports {
			used = append(used, *port.Port)
		}
	}
	for _, probe := range []*corev1.Probe{m.container().StartupProbe, m.container().LivenessProbe, m.container().ReadinessProbe} {
		used = append(used, probe.HTTPGet.Port)
	}
	for _, port := range used {
		if !ports[port.StrVal] {
			t.Errorf("there is no port %q", port.String())
		}
	}
	if names := []string{m.services[0].Name, m.services[1].Name}; !reflect.DeepEqual(names, []string{m.ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name, m.nodes.Spec.ServiceName}) {
		t.Errorf("services %q are not those of the ingress and of the nodes", names)
	}
	want := autoscalingv2.CrossVersionObjectReference{APIVersion: m.nodes.APIVersion, Kind: m.nodes.Kind, Name: m.nodes.Name}
	if m.autoscaler.Spec.ScaleTargetRef != want || m.keda.Spec.ScaleTargetRef != want {
		t.Errorf("scaled are %v and %v, want %v", m.autoscaler.Spec.ScaleTargetRef, m.keda.Spec.ScaleTargetRef, want)
	}
	if !reflect.DeepEqual(m.autoscaler.Spec.Behavior, m.keda.Spec.Advanced.HorizontalPodAutoscalerConfig.Behavior) {
		t.Error("the two ways to scale do not behave the same")
	}
}

// TestManifestsRestricted asks Kubernetes' own judge whether its strictest standard profile lets the nodes in.
func TestManifestsRestricted(t *testing.T) {
	m := readManifests(t)
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, result := range judge.EvaluatePod(level, &m.nodes.Spec.Template.ObjectMeta, m.pod()) {
		if !result.Allowed {
			t.Errorf("%s: %s", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
	for mode, got := range m.namespace.Labels {
		if strings.HasPrefix(mode, "pod-security.kubernetes.io/") && got != string(api.LevelRestricted) {
			t.Errorf("%s is %s", mode, got)
		}
	}
}

// TestManifestsDrain: Kubernetes waits for a node longer than the node drains, and the node longer than load balancers need to hear.
func TestManifestsDrain(t *testing.T) {
	m := readManifests(t)
	settings := []byte(m.config.Data["sockeye.yaml"])
	var config struct {
		Grace    string `json:"drain-grace"`
		Sessions int    `json:"max-sessions"`
	}
	if err := yaml.Unmarshal(settings, &config); err != nil {
		t.Fatal(err)
	}
	total := drainTime(t, settings)
	if grace := time.Duration(*m.pod().TerminationGracePeriodSeconds) * time.Second; grace < total+10*time.Second {
		t.Errorf("terminationGracePeriodSeconds is %v, and the node may take %v", grace, total)
	}
	ready := m.container().ReadinessProbe
	notice := time.Duration(ready.PeriodSeconds*ready.FailureThreshold+ready.TimeoutSeconds) * time.Second
	if grace, _ := time.ParseDuration(config.Grace); grace < 5*time.Second || grace < notice {
		t.Errorf("drain-grace is %v, and the probe needs %v to see that the node is not ready", grace, notice)
	}
	if target := m.autoscaler.Spec.Metrics[0].Pods.Target.AverageValue.Value(); target >= int64(config.Sessions) {
		t.Errorf("the autoscaler aims at %d connections for each node, and max-sessions allows %d", target, config.Sessions)
	}
	if m.keda.Spec.Triggers[0].Metadata["threshold"] != m.autoscaler.Spec.Metrics[0].Pods.Target.AverageValue.AsDec().String() {
		t.Error("the two ways to scale have two aims")
	}
}

// TestKustomization builds what `kubectl apply -k` would apply.
func TestKustomization(t *testing.T) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]int)
	for _, resource := range built.Resources() {
		kinds[resource.GetKind()]++
	}
	want := map[string]int{
		"Namespace": 1, "ConfigMap": 1, "Service": 2, "StatefulSet": 1, "PodDisruptionBudget": 1, "NetworkPolicy": 1, "HorizontalPodAutoscaler": 1,
	}
	if !reflect.DeepEqual(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
	all, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	var k kustomize.Kustomization
	if err := yaml.UnmarshalStrict([]byte(read(t, "kubernetes/kustomization.yaml")), &k); err != nil {
		t.Fatal(err)
	}
	if image := "image: " + k.Images[0].NewName + ":" + k.Images[0].NewTag; strings.Count(string(all), image) != 1 {
		t.Errorf("no %s in\n%s", image, all)
	}
}

// TestEmbeddedKustomization: the nodes of the cluster without Redis find at least one node that is always there, reach its port, and
// start with what they are given.
func TestEmbeddedKustomization(t *testing.T) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "kubernetes-embedded")
	if err != nil {
		t.Fatal(err)
	}
	var m manifests
	for _, resource := range built.Resources() {
		m.decode(t, "kubernetes-embedded", []byte(resource.MustYaml()))
	}
	m.decode(t, "kubernetes/secret.example.yaml", []byte(read(t, "kubernetes/secret.example.yaml")))
	effective := m.checkConfig(t)
	if effective["adapter"] != "nats" || effective["redis"] != nil || effective["nats-embed"] != ":6222" {
		t.Errorf("the nodes have adapter %v, redis %v, nats-embed %v", effective["adapter"], effective["redis"], effective["nats-embed"])
	}
	routes, _ := effective["nats-routes"].([]any)
	if least := *m.autoscaler.Spec.MinReplicas; len(routes) < 2 || len(routes) > int(least) {
		t.Errorf("%d routes, and %d nodes at least", len(routes), least)
	}
	for i, route := range routes {
		if want := fmt.Sprintf("nats://%s-%d.%s:6222", m.nodes.Name, i, m.nodes.Spec.ServiceName); route != want {
			t.Errorf("route %v, want %s", route, want)
		}
	}
	const port = "routes"
	if !slices.ContainsFunc(m.container().Ports, func(p corev1.ContainerPort) bool { return p.Name == port && p.ContainerPort == 6222 }) {
		t.Errorf("the nodes open %v", m.container().Ports)
	}
	for _, s := range m.services {
		open := slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.TargetPort.String() == port })
		if want := s.Name == m.nodes.Spec.ServiceName; open != want {
			t.Errorf("service %s has the routes: %v", s.Name, open)
		}
	}
	for _, rule := range m.network.Spec.Ingress {
		open := slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.String() == port })
		own := len(rule.From) == 1 && rule.From[0].PodSelector != nil && reflect.DeepEqual(rule.From[0].PodSelector.MatchLabels, m.nodes.Spec.Selector.MatchLabels)
		if open != own {
			t.Errorf("from %v the routes are reached: %v", rule.From, open)
		}
	}
}

// scaledObject is the part of KEDA's type of that name that keda.yaml uses, as KEDA documents it.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		ScaleTargetRef  autoscalingv2.CrossVersionObjectReference `json:"scaleTargetRef"`
		MinReplicaCount int32                                     `json:"minReplicaCount"`
		MaxReplicaCount int32                                     `json:"maxReplicaCount"`
		PollingInterval int32                                     `json:"pollingInterval"`
		Fallback        struct {
			FailureThreshold int32  `json:"failureThreshold"`
			Replicas         int32  `json:"replicas"`
			Behavior         string `json:"behavior"`
		} `json:"fallback"`
		Advanced struct {
			HorizontalPodAutoscalerConfig struct {
				Behavior *autoscalingv2.HorizontalPodAutoscalerBehavior `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []struct {
			Type       string            `json:"type"`
			MetricType string            `json:"metricType"`
			Metadata   map[string]string `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

// drainTime is how long a node with this configuration may take to end.
func drainTime(t *testing.T, configuration []byte) (total time.Duration) {
	t.Helper()
	var times struct {
		Grace    string `json:"drain-grace"`
		Drain    string `json:"drain-timeout"`
		Shutdown string `json:"shutdown-timeout"`
	}
	if err := yaml.Unmarshal(configuration, &times); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{times.Grace, times.Drain, times.Shutdown} {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			t.Fatalf("%q: %v", text, err)
		}
		total += d
	}
	return total
}
