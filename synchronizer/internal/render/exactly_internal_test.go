package render

import "testing"

func TestNoRoomIsKeptForObjectsThatWillNotCome(t *testing.T) {
	t.Parallel()
	const many = 10
	cases := map[string]struct {
		reason string
		room   int
		want   int
	}{
		"None":   {reason: "There is nothing to save.", room: 0, want: many},
		"Little": {reason: "A copy would cost more than it saves.", room: 1, want: many + 1},
		"Much":   {reason: "As append leaves it.", room: 6, want: many},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := make([]Desired, many, many+tc.room)
			objects[many-1].Bytes = 1
			got := exactly(objects)
			if len(got) != many || cap(got) != tc.want || got[many-1].Bytes != 1 {
				t.Errorf("%s\nexactly: %d objects with room for %d, want room for %d", tc.reason, len(got), cap(got), tc.want)
			}
		})
	}
}
