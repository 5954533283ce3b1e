// Package outage makes the same trouble for every broker while one node sends numbered messages to another, and tells what became of
// them: what was lost, came twice or out of order, when the nodes noticed, and when messages crossed again. Its tests hold what each
// adapter promises; with -long they make all troubles and print the table of docs/brokers.md. With -cost they measure what messages
// between nodes cost, and TestBursts what becomes of more than a broker takes at once, with -reference beside nodes of the npm packages.
package outage
