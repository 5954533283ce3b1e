package api

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// schemas are the types that requests and answers are made of, by their names in the document.
var schemas = map[string]any{
	"Error": failureBody{}, "Failure": failure{}, "Publication": publication{}, "Disconnection": disconnection{}, "Membership": membership{},
	"Departure": departure{}, "Batch": batch{}, "Operation": operation{}, "BatchAnswer": batchAnswer{}, "BatchResult": batchResult{},
	"Done": done{}, "NodesAnswer": nodesAnswer{}, "Node": nodeView{}, "NodeStatus": nodeStatus{}, "NamespacesAnswer": namespacesAnswer{},
	"NamespaceStatus": namespaceStatus{}, "CountAnswer": countAnswer{}, "PresenceAnswer": presenceAnswer{}, "Present": presentView{},
	"UserAnswer": userAnswer{}, "SocketsAnswer": socketsAnswer{}, "SocketAnswer": socketAnswer{}, "Socket": socketView{},
	"WatchingEvent": watchingView{}, "TraceEvent": traceEntry{}, "DroppedEvent": droppedView{},
	"Revocation": revocation{}, "RevokedAnswer": revokedAnswer{},
	"Drain": drainOrder{}, "Rebalancing": rebalancing{}, "PlanAnswer": planAnswer{}, "PlannedNode": plannedView{},
}

// TestSchemas: the document has the fields of all types, and says which of an answer are always there.
func TestSchemas(t *testing.T) {
	type object struct {
		Properties map[string]any
		Required   []string
	}
	left := make(map[string]object)
	for name, raw := range describe(t).Components.Schemas {
		var o object
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if o.Properties != nil {
			left[name] = o
		}
	}
	for name, value := range schemas {
		o, ok := left[name]
		if !ok {
			t.Errorf("the document has no %s", name)
			continue
		}
		delete(left, name)
		all, always := fields(reflect.TypeOf(value))
		properties, required := slices.Sorted(maps.Keys(o.Properties)), slices.Sorted(slices.Values(o.Required))
		if !slices.Equal(properties, all) || !slices.Equal(required, always) {
			t.Errorf("%s has %q, always %q; the document says %q, always %q", name, all, always, properties, required)
		}
	}
	for name := range left {
		t.Errorf("the document has %s, the code has not", name)
	}
}

// fields returns the JSON names of a struct's fields, and of those that are always there, sorted.
func fields(t reflect.Type) (all, always []string) {
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" || name == "-" {
			continue
		}
		all = append(all, name)
		promoted := len(f.Index) > 1 && t.Field(f.Index[0]).Type.Kind() == reflect.Pointer // missing when the pointer is nil
		if !strings.Contains(options, "omitempty") && !promoted {
			always = append(always, name)
		}
	}
	slices.Sort(all)
	slices.Sort(always)
	return all, always
}
