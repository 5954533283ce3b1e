package membership

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// compareLocked looks whether a member has this node's name or tag. The younger of the two gives way.
func (m *Members) compareLocked(mem *member) {
	name, tag := mem.node.Name == m.self.Name, mem.node.Tag == m.self.Tag
	yields := m.self.younger(&mem.node)
	was := m.self
	if name && yields {
		m.renameLocked()
	}
	if name && !mem.warned {
		mem.warned = true
		text := "two nodes have the same name; give each of them its own --node-name"
		attrs := []any{"name", was.Name, "node", m.self.ID, "other", mem.node.ID, "otherAddress", mem.node.Address}
		if m.self.Name != was.Name {
			attrs = append(attrs, "newName", m.self.Name)
		}
		m.logLocked(slog.LevelWarn, text, attrs...)
	}
	if tag && yields {
		m.redrawLocked()
		m.logLocked(slog.LevelInfo, "another node has the same tag; session ids of this node begin with a new one from now on",
			"tag", was.Tag, "newTag", m.self.Tag, "other", mem.node.Name)
	}
	if m.self != was {
		m.selfChangedLocked()
	}
}

// nameLocked and unnameLocked keep the index of names.
func (m *Members) nameLocked(mem *member) {
	m.named[mem.node.Name] = append(m.named[mem.node.Name], mem)
}

func (m *Members) unnameLocked(mem *member) {
	others := slices.DeleteFunc(m.named[mem.node.Name], func(other *member) bool { return other == mem })
	if m.named[mem.node.Name] = others; len(others) == 0 {
		delete(m.named, mem.node.Name)
	}
}

// renameLocked adds four characters of the id to the name: others of them if somebody has that name too.
func (m *Members) renameLocked() {
	base, id := m.opts.Self.Name, string(m.self.ID)
	for i := 0; i < len(id); i += 4 {
		name := base + "-" + id[i:min(i+4, len(id))]
		if name != m.self.Name && len(m.named[name]) == 0 {
			m.self.Name = name
			return
		}
	}
	m.self.Name = base + "-" + id
}

func (m *Members) redrawLocked() {
	taken := make(map[string]bool, len(m.members))
	for _, mem := range m.members {
		taken[mem.node.Tag] = true
	}
	for taken[m.self.Tag] {
		m.self.Tag = randomTag()
	}
}

// beginLifeLocked goes on with another life since this one was declared over.
func (m *Members) beginLifeLocked() {
	if m.life >= maxLife {
		return
	}
	m.life++
	m.self.Life = m.self.ID.life(m.life)
	m.logLocked(slog.LevelWarn, "other nodes had taken this one for dead; it goes on with a new life", "node", m.self.Name, "life", m.self.Life)
	m.selfChangedLocked()
}

func (m *Members) selfChangedLocked() {
	self := m.self
	m.noteLocked(notice{self: &self})
	m.hello = nil
	m.announceLocked()
}

// announceLocked says hello to all.
func (m *Members) announceLocked() {
	for _, body := range m.helloLocked() {
		m.postLocked(letter{All, "", body})
	}
}

// announceCommonLocked says hello to every Sockeye, without topics.
func (m *Members) announceCommonLocked() {
	m.answerAt = time.Time{}
	hello := m.headerLocked(kindHello)
	hello.identity = identityOf(&m.self, m.settings)
	hello.Key, hello.Topics = "", 0
	m.tellLocked(Common, &hello)
}

// differsLocked reports whether the sender of a hello cannot be a member.
func (m *Members) differsLocked(msg *message) bool {
	return msg.V != wireVersion || !maps.Equal(msg.Settings, m.settings)
}

// maxConflicts is how many combinations of settings are logged.
const maxConflicts = 64

// meetLocked takes a hello of somebody who is no member, or that all members get another way. A stranger that has not been met
// is answered, so that its log tells the same, but not by every node: the first one speaks for those with equal settings.
func (m *Members) meetLocked(msg *message, now time.Time) {
	if !m.differsLocked(msg) {
		m.answerAt = time.Time{}
		return
	}
	m.stats.Strangers++
	if _, met := m.strangers[msg.From]; met {
		return
	}
	if len(m.strangers) >= maxMembers {
		clear(m.strangers)
	}
	m.strangers[msg.From] = struct{}{}
	if m.answerAt.IsZero() {
		m.answerAt = now.Add(rand.N(m.opts.Interval))
		m.work = true
	}
	combination, err := json.Marshal(struct {
		V        int
		Settings map[string]string
	}{msg.V, msg.Settings})
	if _, logged := m.conflicts[string(combination)]; err != nil || logged || len(m.conflicts) >= maxConflicts {
		return
	}
	m.conflicts[string(combination)] = struct{}{}
	m.logLocked(slog.LevelWarn, m.conflict(msg), "node", m.self.Name, "other", msg.Name)
}

// conflict says why two nodes cannot work together, and what to change.
func (m *Members) conflict(msg *message) string {
	if msg.V != wireVersion {
		return fmt.Sprintf("node %q (Sockeye %s) speaks version %d of the messages between nodes, this node %q (Sockeye %s) speaks version %d; they cannot work together: run versions of Sockeye on both that speak the same",
			msg.Name, msg.Version, msg.V, m.self.Name, m.self.Version, wireVersion)
	}
	var theirs, ours, differ []string
	flags := make(map[string]struct{})
	for flag := range msg.Settings {
		flags[flag] = struct{}{}
	}
	for flag := range m.settings {
		flags[flag] = struct{}{}
	}
	for _, flag := range slices.Sorted(maps.Keys(flags)) {
		their, theyHave := msg.Settings[flag]
		our, weHave := m.settings[flag]
		if their != our || theyHave != weHave {
			theirs = append(theirs, setting(flag, their, theyHave))
			ours = append(ours, setting(flag, our, weHave))
			differ = append(differ, "--"+flag)
		}
	}
	return fmt.Sprintf("node %q with %s and this node %q with %s cannot work together: give both the same value of %s, or separate them by another broker if they do not belong together",
		msg.Name, strings.Join(theirs, " "), m.self.Name, strings.Join(ours, " "), strings.Join(differ, " and "))
}

func setting(flag, value string, given bool) string {
	switch {
	case !given:
		return "no --" + flag
	case value == "":
		return "--" + flag + ` ""`
	default:
		return "--" + flag + " " + value
	}
}
