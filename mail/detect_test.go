package mail

import (
	"strings"
	"testing"
)

// TestGuess reads text that says nothing of its charset, long and short: a line of a mail, and a
// subject.
func TestGuess(t *testing.T) {
	for _, c := range []struct{ language, charsets, long, short string }{
		{"ru", "koi8-r windows-1251 iso-8859-5 ibm866", "Прогулка с фонарями сегодня вечером, приходите все и возьмите детей", "Фонарь сегодня"},
		{"uk", "koi8-u windows-1251", "Прогулянка з ліхтарями сьогодні ввечері, приходьте всі та візьміть дітей", "Ліхтарі сьогодні ввечері"},
		{"bg", "windows-1251", "Разходката с фенери е тази вечер, елате всички и вземете децата", "Фенери тази вечер"},
		{"pl", "iso-8859-2 windows-1250", "Spacer z lampionami odbędzie się dziś wieczorem, przyjdźcie wszyscy i weźcie dzieci ze sobą", "Dziś wieczorem spacer, przyjdźcie i weźcie też dzieci"},
		{"cs", "iso-8859-2 windows-1250", "Procházka s lampióny je dnes večer, přijďte všichni a vezměte děti s sebou", "Příští neděli přijďte na procházku"},
		{"hu", "iso-8859-2 windows-1250", "A lámpás séta ma este lesz, gyertek mindannyian, és hozzátok el a gyerekeket is, kérjük, időben", "Ma este lesz a lámpás séta, jöjjetek időben"},
		{"el", "iso-8859-7 windows-1253", "Ο περίπατος με τα φανάρια είναι απόψε, ελάτε όλοι και φέρτε τα παιδιά", "Φανάρια απόψε"},
		{"tr", "iso-8859-9", "Fener yürüyüşü bu akşam, hepiniz gelin ve çocukları da getirin, ışıkları unutmayın", "Fener yürüyüşü bu akşam"},
		{"he", "windows-1255 iso-8859-8", "טיול הפנסים הערב, בואו כולכם והביאו את הילדים", "טיול הפנסים הערב"},
		{"ar", "windows-1256", "نزهة الفوانيس هذا المساء، تعالوا جميعا وأحضروا الأطفال معكم", "نزهة الفوانيس هذا المساء"},
		{"th", "tis-620", "เดินถือโคมไฟเย็นนี้ ขอเชิญทุกคนมาพร้อมกับเด็ก ๆ ได้เลย", "เดินถือโคมไฟเย็นนี้"},
		{"ja", "shift_jis euc-jp", "今夜は提灯の散歩です。みなさん、子どもたちを連れて来てください。", "今夜は提灯の散歩です"},
		{"zh", "gb18030", "今天晚上有灯笼散步，请大家带着孩子一起来参加。", "今天晚上有灯笼散步"},
		{"tw", "big5", "今天晚上有燈籠散步，請大家帶著孩子一起來參加。", "今天晚上有燈籠散步"},
		{"ko", "euc-kr", "오늘 저녁에 등불 산책이 있습니다. 모두 아이들을 데리고 오세요.", "오늘 저녁 등불 산책"},
		{"de", "windows-1252", "Der Laternenumzug ist heute Abend, kommt alle und bringt die Kinder mit – für Getränke und Brötchen ist gesorgt. Grüße", "Größe der Übersicht für Köln"},
		{"fr", "windows-1252", "La promenade aux lanternes a lieu ce soir, venez tous et amenez les enfants, même les tout-petits, ça va être très beau", "Réunion à l’école ce soir"},
		{"es", "windows-1252", "El paseo con faroles es esta noche, ¡venid todos y traed a los niños! ¿Quién trae más sillas? El año próximo también", "¿Mañana? El año próximo también"},
		{"pt", "windows-1252", "O passeio com lanternas é hoje à noite, venham todos e tragam as crianças, não se esqueçam dos lampiões", "Não se esqueçam das crianças"},
		{"it", "windows-1252", "La passeggiata con le lanterne è stasera, venite tutti e portate i bambini, perché sarà bellissimo e c'è già tutto", "Perché è già così"},
		{"sv", "windows-1252", "Lyktpromenaden är i kväll, kom allihop och ta med barnen, så blir det roligt för både stora och små", "Lyktpromenad i kväll för små och stora"},
		{"da", "windows-1252", "Lanterneturen er i aften, kom alle sammen og tag børnene med, så bliver det hyggeligt både for små og store på gården", "Børnene på gården"},
		{"fi", "windows-1252", "Lyhtykävely on tänä iltana, tulkaa kaikki ja ottakaa lapset mukaan, myös pienimmät pääsevät hämärään metsään", "Lyhtykävely tänä iltana"},
		{"nl", "windows-1252", "De lampionoptocht is vanavond, kom allemaal en neem de kinderen mee, één lampion per kind, ideeën zijn welkom, géén vuur", "Eén lampion per kind, ideeën welkom"},
		{"is", "windows-1252", "Ljósagangan er í kvöld, komið öll og takið börnin með, það verður gaman þó að veðrið sé ekki gott", "Ljósaganga í kvöld, komið öll með börnin"},
	} {
		for charset := range strings.FieldsSeq(c.charsets) {
			for _, text := range []string{c.long, c.short} {
				raw := encode(t, charset, text)
				if got := decodeCharset("", raw); got != text {
					t.Errorf("%s in %s is %q, want %q", c.language, charset, got, text)
				}
				if got := decodeCharset(charset, raw); got != text {
					t.Errorf("%s declared as %s is %q, want %q", c.language, charset, got, text)
				}
			}
		}
	}
}

// encode writes text in a charset.
func encode(t *testing.T, charset, text string) []byte {
	t.Helper()
	for _, c := range candidates {
		if strings.EqualFold(c.name, strings.NewReplacer("tis-620", "windows-874", "iso-8859-9", "windows-1254", "iso-8859-8", "windows-1255").Replace(charset)) {
			raw, err := c.enc.NewEncoder().Bytes([]byte(text))
			if err != nil {
				t.Fatalf("%q in %s: %v", text, charset, err)
			}
			return raw
		}
	}
	t.Fatalf("no charset %s", charset)
	return nil
}

// TestUnbelievable declares a charset in which the text cannot be.
func TestUnbelievable(t *testing.T) {
	const russian, japanese = "Прогулка с фонарями сегодня вечером", "今夜は提灯の散歩です。みなさん来てください。"
	for _, c := range []struct{ declared, is, text string }{
		{"iso-2022-jp", "euc-jp", japanese},
		{"iso-2022-jp", "shift_jis", japanese},
		{"euc-jp", "shift_jis", japanese},
		{"utf-8", "shift_jis", japanese},
		{"us-ascii", "euc-jp", japanese},
		{"iso-8859-1", "shift_jis", japanese},
		{"windows-1252", "euc-jp", japanese},
		{"utf-8", "koi8-r", russian},
		{"iso-8859-1", "koi8-r", russian},
		{"iso-8859-1", "windows-1251", russian},
		{"us-ascii", "windows-1251", russian},
		{"gb2312", "big5", "今天晚上有燈籠散步，請大家帶著孩子一起來參加。"},
		{"iso-8859-1", "gb18030", "今天晚上有灯笼散步，请大家带着孩子一起来参加。"},
		{"iso-8859-1", "euc-kr", "오늘 저녁에 등불 산책이 있습니다."},
		{"iso-8859-1", "windows-1253", "Ο περίπατος με τα φανάρια είναι απόψε"},
	} {
		if got := decodeCharset(c.declared, encode(t, c.is, c.text)); got != c.text {
			t.Errorf("%s declared as %s is %q", c.is, c.declared, got)
		}
	}
	// A few broken bytes are no reason to believe nothing any more.
	for charset, text := range map[string]string{"euc-jp": japanese, "shift_jis": japanese, "big5": "今天晚上有燈籠散步，請大家帶著孩子一起來參加。"} {
		raw := append(encode(t, charset, strings.Repeat(text, 3)), 0xff)
		if got := decodeCharset(charset, raw); got != strings.Repeat(text, 3)+"\uFFFD" {
			t.Errorf("%s with a broken byte is %q", charset, got)
		}
	}
	if got := decodeCharset("utf-8", []byte("Grüße an alle, schöne Ostern für euch \xff und süße Eier")); got != "Grüße an alle, schöne Ostern für euch \uFFFD und süße Eier" {
		t.Errorf("UTF-8 with a broken byte is %q", got)
	}
	// What is declared and can be is believed.
	for _, c := range []struct{ charset, text, want string }{
		{"iso-8859-1", "\xc4\xd6\xdc \xe4\xf6\xfc \xdf", "ÄÖÜ äöü ß"},
		{"iso-8859-1", "GR\xd6SSE, \xc0\xc9\xc8", "GRÖSSE, ÀÉÈ"},
		{"windows-1252", "\x93\xc4\x94 \x96 \x80\x80\x80", "“Ä” – €€€"},
	} {
		if got := decodeCharset(c.charset, []byte(c.text)); got != c.want {
			t.Errorf("%s %q is %q, want %q", c.charset, c.text, got, c.want)
		}
	}
}
