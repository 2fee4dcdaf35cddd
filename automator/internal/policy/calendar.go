package policy

import (
	"cmp"
	"slices"
	"strings"
)

// maxCalendarParts bounds the parts of a format.
const maxCalendarParts = 6

// calendar orders by calendar version.
type calendar struct {
	format string
	parts  []calendarPart
	pre    bool
}

// calendarPart is a part of a format: a number, or the text between two.
type calendarPart struct {
	literal string // empty for a number
	token   calendarToken
	rank    int // place of the number in the order
}

// calendarToken is a kind of number.
type calendarToken struct {
	name     string
	min, max uint64 // max 0 means any
	digits   int    // exactly, if padded
	date     int    // 1 for years, 2 for months and weeks, 3 for days, 0 for what is no date
}

func calendarTokens() []calendarToken {
	return []calendarToken{
		{name: "YYYY", min: 1000, max: 9999, digits: 4, date: 1},
		{name: "0Y", max: 99, digits: 2, date: 1},
		{name: "YY", max: 999, date: 1},
		{name: "0M", min: 1, max: 12, digits: 2, date: 2},
		{name: "MM", min: 1, max: 12, date: 2},
		{name: "0W", min: 1, max: 53, digits: 2, date: 2},
		{name: "WW", min: 1, max: 53, date: 2},
		{name: "0D", min: 1, max: 31, digits: 2, date: 3},
		{name: "DD", min: 1, max: 31, date: 3},
		{name: "MAJOR"},
		{name: "MINOR"},
		{name: "MICRO"},
	}
}

func newCalendar(c *Config, faults *Faults) calendar {
	k := calendar{format: c.Calver, pre: c.PreReleases}
	var dates, ranks []int // of the numbers
	for rest := c.Calver; rest != ""; {
		i := slices.IndexFunc(calendarTokens(), func(t calendarToken) bool { return strings.HasPrefix(rest, t.name) })
		if i < 0 {
			k.literal(rest[:1])
			rest = rest[1:]
			continue
		}
		token := calendarTokens()[i]
		if token.date != 0 {
			dates = append(dates, len(ranks))
		}
		ranks = append(ranks, len(ranks))
		k.parts = append(k.parts, calendarPart{token: token})
		rest = rest[len(token.name):]
	}
	if len(dates) == 0 || len(ranks) > maxCalendarParts {
		faults.addf("calver", "%.60q is not a format of up to %d parts with a date; write one such as YYYY.0M.0D, YY.MM.MICRO or YYYY.WW; "+
			"parts are YYYY, YY, 0Y, MM, 0M, WW, 0W, DD, 0D, MAJOR, MINOR, MICRO", c.Calver, maxCalendarParts)
		return k
	}
	k.rank(dates)
	return k
}

func (k *calendar) literal(text string) {
	if last := len(k.parts) - 1; last >= 0 && k.parts[last].literal != "" {
		k.parts[last].literal += text
		return
	}
	k.parts = append(k.parts, calendarPart{literal: text})
}

// rank gives every number its place: as they are written, but the parts of the date among them by what they mean, so that
// DD.MM.YYYY is ordered by year first.
func (k *calendar) rank(dates []int) {
	var numbers []*calendarPart
	for i := range k.parts {
		if k.parts[i].literal == "" {
			k.parts[i].rank = len(numbers)
			numbers = append(numbers, &k.parts[i])
		}
	}
	byMeaning := slices.Clone(dates)
	slices.SortStableFunc(byMeaning, func(a, b int) int { return cmp.Compare(numbers[a].token.date, numbers[b].token.date) })
	for place, number := range byMeaning {
		numbers[number].rank = dates[place]
	}
}

func (k calendar) String() string { return "calver " + k.format }

func (k calendar) place(e *entry) Rule {
	rest := strings.TrimPrefix(e.value, "v")
	for i, part := range k.parts {
		if part.literal != "" {
			after, ok := strings.CutPrefix(rest, part.literal)
			if !ok {
				return RuleCalver
			}
			rest = after
			continue
		}
		length := part.token.digits
		if length == 0 {
			length = digits(rest)
		}
		if length == 0 || digits(rest) < length || i == len(k.parts)-1 && digits(rest) > length {
			return RuleCalver
		}
		if padded := length > 1 && rest[0] == '0'; padded && part.token.digits == 0 && part.token.date != 0 {
			return RuleCalver
		}
		number, _, ok := cutNumber(rest[:length])
		if !ok || number < part.token.min || part.token.max > 0 && number > part.token.max {
			return RuleCalver
		}
		e.calendar[part.rank] = number
		rest = rest[length:]
	}
	if rest != "" && rest[0] != '-' {
		return RuleCalver
	}
	var pre string
	pre, e.variant = splitSuffix(strings.TrimPrefix(rest, "-"))
	e.version = release(pre)
	return ""
}

func (k calendar) alike(e, current *entry) Rule {
	switch {
	case e.variant != current.variant:
		return RuleVariant
	case e.version.Prerelease() != "" && !k.pre:
		return RulePreRelease
	}
	return ""
}

func (k calendar) compare(a, b *entry) int {
	return cmp.Or(slices.Compare(a.calendar[:], b.calendar[:]), a.version.Compare(b.version))
}
