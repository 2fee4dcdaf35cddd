package policy

import (
	"cmp"
	"strings"
)

// number is a decimal number of any length: digits, and digits behind the point. Nothing is rounded.
type number struct{ whole, fraction string }

// numbers orders by number.
type numbers struct{ desc bool }

func (n numbers) String() string {
	if n.desc {
		return "lowest number"
	}
	return "highest number"
}

func (n numbers) place(e *entry) Rule {
	whole, fraction, point := strings.Cut(e.value, ".")
	if whole == "" || digits(whole) < len(whole) || digits(fraction) < len(fraction) || point && fraction == "" {
		return RuleNumber
	}
	e.number = number{strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")}
	return ""
}

func (n numbers) alike(_, _ *entry) Rule { return "" }

func (n numbers) compare(a, b *entry) int {
	order := cmp.Or(compareDigits(a.number.whole, b.number.whole), strings.Compare(a.number.fraction, b.number.fraction))
	if n.desc {
		return -order
	}
	return order
}

// texts orders by bytes.
type texts struct{ desc bool }

func (t texts) String() string {
	if t.desc {
		return "first in the alphabet"
	}
	return "last in the alphabet"
}

func (t texts) place(*entry) Rule { return "" }

func (t texts) alike(_, _ *entry) Rule { return "" }

func (t texts) compare(a, b *entry) int {
	if t.desc {
		return strings.Compare(b.value, a.value)
	}
	return strings.Compare(a.value, b.value)
}
