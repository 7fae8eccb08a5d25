package agent

import (
	"slices"
	"testing"
)

func TestTaken(t *testing.T) {
	call := func(module, name, args string) string {
		return "\x8c" + string(rune(len(module))) + module + "\x8c" + string(rune(len(name))) + name + "\x93" + args + "R"
	}
	const buffer, locked = "\x97", "\x97\x98"
	for name, c := range map[string]struct {
		stream string
		want   []bool
	}{
		"AnArrayThatOwnsIt":     {call("kedge_agent.arrays", "owned", "("+buffer+"K\x01t"), []bool{true}},
		"AReadOnlyOne":          {call("kedge_agent.arrays", "owned", "("+locked+"K\x01t"), []bool{true}},
		"ArraysThatShowIt":      {call("kedge_agent.arrays", "same", buffer+"\x85"), []bool{true}},
		"Arrow":                 {call("pyarrow.lib", "py_buffer", buffer+"\x85"), []bool{true}},
		"AnotherFunction":       {call("kedge_agent.tensors", "make_storage", buffer+"\x85"), []bool{false}},
		"AClassOfTheSameName":   {call("lib", "owned", "("+buffer+"K\x01t"), []bool{false}},
		"AnotherArgument":       {call("kedge_agent.arrays", "owned", "(K\x01"+buffer+"t"), []bool{false}},
		"AValueByItself":        {"]" + buffer + "a", []bool{false}},
		"TheWhole":              {buffer, []bool{false}},
		"AStateOfAnObject":      {call("lib", "C", ")") + "}\x8c\x01b" + buffer + "sb", []bool{false}},
		"OneOfTwo":              {"](" + call("kedge_agent.arrays", "owned", "("+buffer+"K\x01t") + buffer + "e", []bool{true, false}},
		"OneThatSomebodyHasToo": {"](" + buffer + "\x94" + call("kedge_agent.arrays", "same", "h\x00\x85") + "e", []bool{false}},
		"NoBuffer":              {"K\x01", []bool{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Taken([]byte("\x80\x05" + c.stream + "."))
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	if _, err := Taken([]byte("\x80\x05\x97")); err == nil {
		t.Error("a stream that is cut off is read")
	}
}
