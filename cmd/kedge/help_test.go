package main

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestHelp(t *testing.T) {
	say := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if err := dispatch(context.Background(), &out, &out, args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		return out.String()
	}
	overview, page := say("help"), say("help", "--man")
	for _, c := range commands() {
		if !strings.Contains(overview, c.name) || !strings.Contains(page, ".SH KEDGE "+strings.ToUpper(c.name)) {
			t.Errorf("%s is missing", c.name)
		}
		if say("help", c.name) != say(c.name, "--help") {
			t.Errorf("help %s and %s --help differ", c.name, c.name)
		}
	}
	for _, word := range []string{"KEDGE_QUOTA", "exit status", "config.json"} {
		if !strings.Contains(overview, word) {
			t.Errorf("no %s", word)
		}
	}
	for _, line := range regexp.MustCompile(`(?m)^[.'].*`).FindAllString(page, -1) {
		if !regexp.MustCompile(`^\.(TH|SH|B|I|PP|nf|fi)\b`).MatchString(line) {
			t.Errorf("man would take %q for a request", line)
		}
	}
	var out bytes.Buffer
	if err := dispatch(context.Background(), &out, &out, []string{"help", "nosuch"}); exitCode(err) != exitUsage {
		t.Error(err)
	}
}

func TestFlagsOfUsage(t *testing.T) {
	for name, want := range map[string][]string{
		"run":        {"--auto", "--from", "--json", "--kernel", "--no-cache", "--python", "--to", "-o", "-p"},
		"graph":      {"--auto", "--format", "--json"},
		"store":      {"--dry-run", "--json", "--quota"},
		"restore":    {"--into"},
		"completion": {},
	} {
		for _, c := range commands() {
			if c.name == name && !slices.Equal(flagsOf(c.usage), want) {
				t.Errorf("%s: %v, want %v", name, flagsOf(c.usage), want)
			}
		}
	}
}

func TestBashCompletes(t *testing.T) {
	dir := t.TempDir()
	for words, want := range map[string]string{
		"kedge res":             "restore",
		"kedge store g":         "gc",
		"kedge store gc --d":    "--dry-run",
		"kedge run --no":        "--no-cache",
		"kedge graph --format ": "text dot svg",
		"kedge run a":           "a b.ipynb",
		"kedge help doc":        "doctor",
		"kedge completion z":    "zsh",
	} {
		script := bashCompletion() + `
touch "a b.ipynb" a.txt
line=$1
read -ra COMP_WORDS <<<"$line"
[[ $line == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_kedge
echo "${COMPREPLY[*]}"
`
		cmd := exec.Command("bash", "-c", script, "bash", words)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q: %q, want %q (%v)", words, got, want, err)
		}
	}
}

func TestEveryShellKnowsEveryCommand(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		var out bytes.Buffer
		if err := runCompletion(context.Background(), &out, &out, []string{shell}); err != nil {
			t.Fatal(err)
		}
		for _, c := range commands() {
			if !strings.Contains(out.String(), c.name) {
				t.Errorf("%s: no %s", shell, c.name)
			}
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue // not installed: its words are looked at above
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = &out
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, text)
		}
	}
}
