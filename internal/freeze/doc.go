// Package freeze stops processes of tests without closing anything of theirs: the kernel still accepts connections for them, and
// takes what is sent to them.
package freeze
