package main

import (
	"fmt"
	"io"
	"strings"
)

const about = "kedge restores the steps of a notebook that have not changed and runs the rest."

// topics are the parts of the manual that belong to no command.
func topics() [][2]string {
	return [][2]string{{"exit status", `0  ok
1  a cell failed, the store is damaged, or doctor has found a problem
2  the command was called in a wrong way
3  the notebook, its kernel or a folder cannot be used
4  interrupted
5  what was shared was not opened: its author is not trusted
6  what was shared has expired, was revoked, or is not for whoever has this link
7  what was shared is not what its author signed, or would write where it may not
A kernel that ended by itself gives its own status.`},
		{"environment", `KEDGE_HOME       where the store is; by default $XDG_DATA_HOME/kedge, else ~/.local/share/kedge
KEDGE_QUOTA      the most that the store should take, such as 20GB, or none
KEDGE_NETWORK    1: the store may lie on a network file system, for one machine at a time
KEDGE_PYTHON     as --python
KEDGE_KERNEL     as --kernel
KEDGE_AUTHOR     how kedge share calls you
KEDGE_NOTEBOOK   the notebook of a kernel, where the front end does not name it`},
		{"files", `~/.config/kedge/config.json   {"stateless": ["PACKAGE", …], "quota": "20GB", "network": false}
~/.local/share/kedge          the store; key in it is this home's private key, trusted whose snapshots may be restored`}}
}

// runHelp prints the overview, one command's usage, or the manual as roff.
func runHelp(out io.Writer, args []string) error {
	switch {
	case len(args) == 0:
		return writeOverview(out)
	case len(args) > 1:
		return fmt.Errorf("%w: help takes one command", errUsage)
	case args[0] == "--man":
		_, err := fmt.Fprint(out, manual())
		return err
	}
	for _, c := range commands() {
		if c.name == args[0] {
			_, err := fmt.Fprintln(out, c.usage)
			return err
		}
	}
	return fmt.Errorf("%w: no command %q; kedge help lists them", errUsage, args[0])
}

func writeOverview(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nusage: kedge COMMAND …\n\n", about)
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-10s %s\n", c.name, c.short)
	}
	for _, topic := range topics() {
		fmt.Fprintf(&b, "\n%s:\n", topic[0])
		for line := range strings.SplitSeq(topic[1], "\n") {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	b.WriteString("\nkedge help COMMAND says more, with examples; kedge help --man is all of it as a manual page:\nkedge help --man | man -l -\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// manual is the manual page, in the language of man(7).
func manual() string {
	var b strings.Builder
	b.WriteString(".TH KEDGE 1\n.SH NAME\nkedge \\- run notebooks and restore what has not changed\n.SH SYNOPSIS\n.B kedge\n.I COMMAND\n…\n.SH DESCRIPTION\n")
	b.WriteString(roff(strings.ToUpper(about[:1])+about[1:]) + "\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, ".SH KEDGE %s\n%s.\n.PP\n.nf\n%s\n.fi\n", strings.ToUpper(c.name), roff(c.short), roff(strings.TrimSpace(c.usage)))
	}
	for _, topic := range topics() {
		fmt.Fprintf(&b, ".SH %s\n.nf\n%s\n.fi\n", strings.ToUpper(topic[0]), roff(topic[1]))
	}
	return b.String()
}

// roff escapes text for man(7).
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
