package gitobject

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Person is who made something, and when.
//
// A decoded When keeps the zone as written as the name of its location, so
// that "-0000" survives; any other location is written by its offset.
type Person struct {
	Name  string
	Email string
	When  time.Time
}

// String is the form Git shows, without the time.
func (p Person) String() string { return p.Name + " <" + p.Email + ">" }

// encode drops what cannot stand in a name or address, and keeps the time
// inside what parsePerson accepts.
func (p Person) encode() string {
	const forbidden = "<>\n\x00"
	seconds := min(max(p.When.Unix(), 0), maxTimestamp)
	return fmt.Sprintf("%s <%s> %d %s",
		without(p.Name, forbidden), without(p.Email, forbidden), seconds, zoneText(p.When))
}

func zoneText(t time.Time) string {
	name, offset := t.Zone()
	if parsed, ok := parseZone(name); ok && parsed == offset {
		return name
	}
	sign := '+'
	if offset < 0 {
		sign, offset = '-', -offset
	}
	minutes := offset / 60
	return fmt.Sprintf("%c%02d%02d", sign, minutes/60%100, minutes%60)
}

// parsePerson follows fsck_ident, and refuses times after the year 9999.
func parsePerson(text string) (Person, error) {
	name, rest, ok := strings.Cut(text, " <")
	if !ok || strings.ContainsAny(name, "<>\n") {
		return Person{}, malformed("%q is not a name, an address and a time", clip(text))
	}
	email, rest, ok := strings.Cut(rest, "> ")
	if !ok || strings.ContainsAny(email, "<>\n") {
		return Person{}, malformed("%q has no address in <>", clip(text))
	}
	stamp, zone, _ := strings.Cut(rest, " ")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || seconds < 0 || seconds > maxTimestamp || strconv.FormatInt(seconds, 10) != stamp {
		return Person{}, malformed("%q has no time in seconds", clip(text))
	}
	offset, ok := parseZone(zone)
	if !ok {
		return Person{}, malformed("%q has no time zone", clip(text))
	}
	when := time.Unix(seconds, 0).In(time.FixedZone(zone, offset))
	return Person{Name: name, Email: email, When: when}, nil
}

// parseZone reads "+0100" as seconds east of UTC.
func parseZone(text string) (offset int, ok bool) {
	if len(text) != len("+0000") || text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	for i := 1; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
	}
	digits, _ := strconv.Atoi(text[1:])
	offset = (digits/100*60 + digits%100) * 60
	if text[0] == '-' {
		offset = -offset
	}
	return offset, true
}
