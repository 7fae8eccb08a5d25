package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const completionUsage = `usage: kedge completion bash|zsh|fish

Prints what makes a shell complete commands, flags and notebooks.

examples:
  source <(kedge completion bash)                 # in ~/.bashrc
  kedge completion zsh >"${fpath[1]}/_kedge"
  kedge completion fish >~/.config/fish/completions/kedge.fish
`

func completionCommand() command {
	return command{name: "completion", short: "print completions for a shell", usage: completionUsage, run: runCompletion}
}

func runCompletion(_ context.Context, out, _ io.Writer, args []string) error {
	shells := map[string]func() string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	if len(args) != 1 || shells[args[0]] == nil {
		return fmt.Errorf("%w: completion takes bash, zsh or fish", errUsage)
	}
	_, err := fmt.Fprint(out, shells[args[0]]())
	return err
}

// completed is a command with what may follow it.
type completed struct {
	name, short string
	flags       []string
	verbs       []string
	files       string // the ending of files that it takes, "" if it takes none
}

func completions() []completed {
	var all []completed
	for _, c := range commands() {
		one := completed{name: c.name, short: c.short, flags: flagsOf(c.usage)}
		switch c.name {
		case "store":
			one.verbs = append(slices.Sorted(maps.Keys(storeVerbs())), "rebuild")
		case "completion":
			one.verbs = []string{"bash", "fish", "zsh"}
		case "run", "plan", "graph", "log", "show", "diff", "restore", "share":
			one.files = ".ipynb"
		case "open":
			one.files = ".kedge"
		}
		all = append(all, one)
	}
	help := completed{name: "help", short: "say more about a command"}
	for _, c := range all {
		help.verbs = append(help.verbs, c.name)
	}
	return append(all, help)
}

// flagsOf lists the flags that a usage text names before its examples.
func flagsOf(usage string) []string {
	usage, _, _ = strings.Cut(usage, "\nexamples:")
	synopsis, options, _ := strings.Cut(usage, "\n\n")
	flag := regexp.MustCompile(`(?:^|[\s\[(|])(--?[a-z][a-z-]*)`)
	found := map[string]bool{}
	for _, m := range flag.FindAllStringSubmatch(synopsis, -1) {
		found[m[1]] = true
	}
	for line := range strings.Lines(options) {
		if rest, ok := strings.CutPrefix(line, "  -"); ok {
			for _, m := range flag.FindAllStringSubmatch("-"+strings.SplitN(rest, "  ", 2)[0], -1) {
				found[m[1]] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func bashCompletion() string {
	var b strings.Builder
	b.WriteString(`# completion of kedge for bash
_kedge() {
  local word=${COMP_WORDS[COMP_CWORD]} verbs= flags= files=
  COMPREPLY=()
  case ${COMP_WORDS[COMP_CWORD-1]} in
    --into|--prefix) COMPREPLY=($(compgen -d -- "$word")); return;;
    -o|--python|-f|--file) COMPREPLY=($(compgen -f -- "$word")); return;;
    --format) COMPREPLY=($(compgen -W "text dot svg" -- "$word")); return;;
  esac
  if ((COMP_CWORD == 1)); then
`)
	var names []string
	for _, c := range completions() {
		names = append(names, c.name)
	}
	fmt.Fprintf(&b, "    COMPREPLY=($(compgen -W %q -- \"$word\")); return\n  fi\n  case ${COMP_WORDS[1]} in\n", strings.Join(names, " "))
	for _, c := range completions() {
		fmt.Fprintf(&b, "    %s) flags=%q verbs=%q files=%q;;\n", c.name, strings.Join(c.flags, " "), strings.Join(c.verbs, " "), c.files)
	}
	b.WriteString(`  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$word"))
  elif [[ -n $verbs ]] && ((COMP_CWORD == 2)); then
    COMPREPLY=($(compgen -W "$verbs" -- "$word"))
  elif [[ -n $files ]]; then
    local IFS=$'\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -X "!*$files" -- "$word") $(compgen -d -- "$word"))
  fi
}
complete -F _kedge kedge
`)
	return b.String()
}

func zshCompletion() string {
	var b strings.Builder
	b.WriteString(`#compdef kedge
# completion of kedge for zsh
_kedge() {
  local -a commands flags verbs
  commands=(
`)
	for _, c := range completions() {
		fmt.Fprintf(&b, "    %s\n", single(c.name+":"+strings.ReplaceAll(c.short, ":", `\:`)))
	}
	b.WriteString(`  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  case $words[CURRENT-1] in
    --into|--prefix) _files -/; return;;
    -o|--python|-f|--file) _files; return;;
    --format) _values format text dot svg; return;;
  esac
  local files=
  case $words[2] in
`)
	for _, c := range completions() {
		fmt.Fprintf(&b, "    %s) flags=(%s) verbs=(%s) files=%s;;\n", c.name, strings.Join(c.flags, " "), strings.Join(c.verbs, " "), single(c.files))
	}
	b.WriteString(`  esac
  if [[ $words[CURRENT] == -* ]]; then
    compadd -- $flags
  elif ((CURRENT == 3 && $#verbs)); then
    compadd -- $verbs
  elif [[ -n $files ]]; then
    _files -g "*$files"
  fi
}
if [[ $funcstack[1] == _kedge ]]; then
  _kedge "$@"
else
  compdef _kedge kedge
fi
`)
	return b.String()
}

func fishCompletion() string {
	var b strings.Builder
	b.WriteString("# completion of kedge for fish\ncomplete -c kedge -f\n")
	for _, c := range completions() {
		fmt.Fprintf(&b, "complete -c kedge -n __fish_use_subcommand -a %s -d %s\n", c.name, single(c.short))
		seen := single("__fish_seen_subcommand_from " + c.name)
		for _, flag := range c.flags {
			kind := "-l"
			if !strings.HasPrefix(flag, "--") {
				kind = "-s" // of one letter
			}
			fmt.Fprintf(&b, "complete -c kedge -n %s %s %s\n", seen, kind, strings.TrimLeft(flag, "-"))
		}
		if len(c.verbs) > 0 {
			fmt.Fprintf(&b, "complete -c kedge -n %s -a %s\n", seen, single(strings.Join(c.verbs, " ")))
		}
		if c.files != "" {
			fmt.Fprintf(&b, "complete -c kedge -n %s -k -a %s\n", seen, single("(__fish_complete_suffix "+c.files+")"))
		}
	}
	return b.String()
}

// single quotes text for a shell.
func single(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
