package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// ask puts a question to whoever sits at the terminal. Where nobody does, asked is false.
func ask(errOut io.Writer, question string) (yes, asked bool) {
	file, ok := errOut.(*os.File)
	if !ok || !isTerminal(file) || !isTerminal(os.Stdin) {
		return false, false
	}
	fmt.Fprintf(errOut, "%s [y/N] ", question)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return false, true
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", true
}

// printable is text of somebody else's for a terminal: what would steer it is taken out.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '�'
		}
		return r
	}, text)
}

// shellWord is text as one word of a command that a person is told to enter: what somebody else has named may hold quotes.
func shellWord(text string) string {
	return "'" + strings.ReplaceAll(printable(text), "'", `'\''`) + "'"
}
