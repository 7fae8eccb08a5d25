package agent

import "context"

// TakeOver makes the kernel the one that clients know by this session and name.
// The subshells that it is asked to create next have these ids.
func (c *Client) TakeOver(ctx context.Context, session, name string, subshells []string) error {
	return c.call(ctx, "kedge_take_over", map[string]any{"session": session, "name": name, "subshells": subshells}, &struct{}{})
}
