<?php // Draws from every source of numbers, all of which the boot has used before.
function draw(): array
{
    $list = range(1, 60);
    shuffle($list);
    $db = new PDO('sqlite::memory:');

    return [
        'mt:' . mt_rand() . mt_rand(), 'lcg:' . lcg_value() . lcg_value(), 'rand:' . rand() . rand(), 'int:' . random_int(0, PHP_INT_MAX),
        'bytes:' . bin2hex(random_bytes(8)), 'openssl:' . bin2hex(openssl_random_pseudo_bytes(8)), 'uniqid:' . uniqid('', true),
        'shuffle:' . implode(',', array_slice($list, 0, 12)), 'str:' . str_shuffle(implode(range('a', 'z'))),
        'array:' . implode(',', array_rand(range(1, 500), 8)), 'sqlite:' . $db->query('select random()')->fetchColumn(),
        'session:' . session_create_id(), 'key:' . bin2hex(openssl_pkey_get_details(openssl_pkey_new(['private_key_type' => OPENSSL_KEYTYPE_EC, 'curve_name' => 'prime256v1']))['ec']['x']),
        'password:' . password_hash('x', PASSWORD_BCRYPT, ['cost' => 4]),
    ];
}
draw();
regie_checkpoint();
echo implode(' ', draw());
