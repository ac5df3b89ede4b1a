<?php // regie_json_decode() gives what json_decode() gives, of whatever text.
require_once __DIR__ . '/executor.php';

/** A text that is JSON, or nearly. */
final class Texts
{
    private const PIECES = [
        'a', 'App\\\\Jobs\\\\Mail', '\\/', '/', '\\n\\r\\t\\b\\f', '\\"', '\\u0000*\\u0000name', '\\u00e9', '\\u20AC', 'é', '😀',
        '\\ud83d\\ude00', 'O:3:\\"A\\":0:{}', "\x7f", ' ', '0123456789abcdef0123456789abcdef',
    ];
    private const ODD = ["\x01", "\0", "\\", '\\u12', '\\u12g4', '\\x', '\\ud800', "\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\n"];
    private const VALUES = [
        'null', 'true', 'false', '0', '7', '-1', '17952570931', '-0', '-0.0', '0.5', '1.0', '12.25e3', '1E-2', '-3e+2', '[]', '{}',
        '999999999999999999', '9223372036854775807', '9223372036854775808', '1e400', '123456789012345678901234567890',
    ];
    private const WRONG = ['NULL', 'True', 'nul', '01', '-', '1.', '.5', '1e', '+1', '--1', 'NaN', "'a'", '', '1 2', '[1,]', '{"a"}', '{a:1}', '{"a":1,}', '[,]'];
    private const SPACES = ['', '', '', '', ' ', "\n\t", "\r\n", "\x0b"];

    private function pick(array $list): string
    {
        return $list[mt_rand(0, count($list) - 1)];
    }

    private function space(): string
    {
        return mt_rand(0, 5) ? '' : self::SPACES[mt_rand(0, mt_rand(0, 30) ? 6 : 7)];
    }

    private function string(): string
    {
        $text = '';
        for ($left = mt_rand(0, 4); $left > 0; $left--) {
            $text .= mt_rand(0, 200) ? $this->pick(self::PIECES) : $this->pick(self::ODD);
        }

        return "\"$text\"";
    }

    private function key(): string
    {
        return mt_rand(0, 2) ? $this->string() : $this->pick(['"a"', '"0"', '"7"', '"-3"', '"007"', '""', '"\\u0000a"', '"job"']);
    }

    public function value(int $depth): string
    {
        $kind = mt_rand(0, $depth > 0 ? 9 : 5);
        if ($kind < 6) {
            return $kind < 3 ? $this->string() : (mt_rand(0, 300) ? $this->pick(self::VALUES) : $this->pick(self::WRONG));
        }
        $parts = [];
        for ($left = mt_rand(0, 5); $left > 0; $left--) {
            $item = $this->space() . $this->value($depth - 1) . $this->space();
            $parts[] = $kind < 8 ? $item : $this->space() . $this->key() . $this->space() . ':' . $item;
        }

        return ($kind < 8 ? '[' : '{') . $this->space() . implode(',', $parts) . ($kind < 8 ? ']' : '}');
    }

    public function next(): string
    {
        $text = $this->space() . $this->value(4) . $this->space();
        switch (mt_rand(0, 12)) {
            case 0:
                return substr($text, 0, mt_rand(0, strlen($text)));
            case 1:
                return $text . $this->pick(['x', "\0", ' ', ',', '}']);
            case 2:
                $deep = mt_rand(60, 70);

                return str_repeat('[', $deep) . $text . str_repeat(']', $deep);
            case 3:
                $text[mt_rand(0, max(0, strlen($text) - 1))] = chr(mt_rand(0, 255));

                return $text;
            default:
                return $text;
        }
    }
}

behave(function () {
    // Other ones in each request.
    mt_srand(20261121 + (int) ($_GET['i'] ?? 0));
    $texts = new Texts();
    for ($count = 0; $count < 200; $count++) {
        $text = $texts->next();
        if (serialize(json_decode($text, true)) !== serialize(regie_json_decode($text))) {
            echo "another value of $text";

            return;
        }
    }
    echo "$count texts, as json_decode";
});
