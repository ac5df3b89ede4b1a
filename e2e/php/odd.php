<?php // Does what few applications do, as ?do= says, and leaves it undone. What it finds at its start, it prints first.
/** Said to the visitor, or, where he is gone already, to the next one. */
function say(string $text): void
{
    echo $text;
    file_put_contents(sys_get_temp_dir() . '/odd.said', $text, FILE_APPEND);
}

final class Late
{
    public function __construct(private string $word, private ?Closure $then = null)
    {
    }

    public function __destruct()
    {
        say(" late:$this->word");
        $this->then && ($this->then)();
    }
}

/** A stream of PHP code: what is written to it is said when it is closed. */
final class Told
{
    public $context;
    private string $text = '';

    public function stream_open(string $path, string $mode): bool
    {
        return true;
    }

    public function stream_write(string $data): int
    {
        $this->text .= $data;

        return strlen($data);
    }

    public function stream_flush(): bool
    {
        return true;
    }

    public function stream_close(): void
    {
        say(" told:$this->text");
        $this->text === 'eat' && eat();
    }
}

final class Shout extends php_user_filter
{
    public function filter($in, $out, &$consumed, bool $closing): int
    {
        while ($bucket = stream_bucket_make_writeable($in)) {
            $bucket->data = strtoupper($bucket->data);
            $consumed += $bucket->datalen;
            stream_bucket_append($out, $bucket);
        }

        return PSFS_PASS_ON;
    }

    public function onClose(): void
    {
        say(' filter closes');
    }
}

final class Sessions implements SessionHandlerInterface
{
    public function __construct(private ?Closure $then = null)
    {
    }

    public function open(string $path, string $name): bool
    {
        return true;
    }

    public function close(): bool
    {
        say(' session closes');

        return true;
    }

    public function read(string $id): string
    {
        return '';
    }

    public function write(string $id, string $data): bool
    {
        say(" session writes $data");
        $this->then && ($this->then)();

        return true;
    }

    public function destroy(string $id): bool
    {
        return true;
    }

    public function gc(int $max): int
    {
        return 0;
    }
}

function eat(): void
{
    ini_set('memory_limit', '48M');
    str_repeat('x', 64 << 20);
}

/** A server that accepts and never answers. */
function silent(): string
{
    $GLOBALS['server'] = stream_socket_server('tcp://127.0.0.1:0');

    return stream_socket_get_name($GLOBALS['server'], false);
}

/** A catalogue of gettext with one message. */
function catalogue(string $folder): void
{
    $from = ["\0", "hello\0"];
    $to = ["Content-Type: text/plain; charset=UTF-8\n\0", "hallo\0"];
    $texts = implode('', $from) . implode('', $to);
    $at = 28 + 32;
    $table = '';
    foreach ([...$from, ...$to] as $text) {
        $table .= pack('V2', strlen($text) - 1, $at);
        $at += strlen($text);
    }
    is_dir("$folder/xx/LC_MESSAGES") || mkdir("$folder/xx/LC_MESSAGES", 0777, true);
    file_put_contents("$folder/xx/LC_MESSAGES/odd.mo", pack('V7', 0x950412de, 0, 2, 28, 44, 0, 60) . $table . $texts);
}

function database(): PDO
{
    $database = new PDO('sqlite:' . sys_get_temp_dir() . '/odd.sqlite', null, null, [PDO::ATTR_TIMEOUT => 5]);
    $database->exec('pragma journal_mode=wal; create table if not exists t (a)');

    return $database;
}

$boot = ['formatter' => new NumberFormatter('de_DE', NumberFormatter::DECIMAL), 'dom' => new DOMDocument(), 'gc' => []];
$boot['collator'] = new Collator('sv_SE');
$boot['dom']->loadXML('<a><b id="1">text</b></a>');
$boot['generator'] = (function () { $number = 0; while (true) { yield ++$number; } })();
$boot['generator']->current();
$boot['fiber'] = new Fiber(function () { $number = 0; while (true) { Fiber::suspend(++$number); } });
$boot['fiber']->start();
$boot['storage'] = new SplObjectStorage();
$boot['weak'] = new WeakMap();
$boot['weak'][$boot['dom']] = 'boot';
$boot['temporary'] = fopen('php://temp', 'w+');
fwrite($boot['temporary'], 'boot');
$boot['handle'] = curl_init('http://127.0.0.1:1/');
$boot['hash'] = hash_init('sha256');
catalogue(sys_get_temp_dir());
touch(sys_get_temp_dir() . '/odd.said');
regie_checkpoint();

hash_update($boot['hash'], 'request');
fwrite($boot['temporary'], ' and request');
$said = sys_get_temp_dir() . '/odd.said';
echo json_encode([
    @file_get_contents($said), mb_internal_encoding(), mb_http_output(), mb_language(), mb_detect_order(), mb_substitute_character(), setlocale(LC_ALL, '0'),
    textdomain(null), gettext('hello'), iconv_get_encoding('all'), openssl_error_string(), libxml_use_internal_errors(),
    libxml_get_errors(), stream_get_filters(), in_array('told', stream_get_wrappers(), true), ob_list_handlers(),
    $boot['generator']->current(), $boot['fiber']->resume(), count($boot['storage']), count($boot['weak']),
    stream_get_contents($boot['temporary'], -1, 0), hash_final(hash_copy($boot['hash'])), $boot['formatter']->format(1234.5),
    $boot['collator']->getAttribute(Collator::NUMERIC_COLLATION), $boot['dom']->saveXML(), intl_get_error_code(),
    headers_list(), http_response_code(), ignore_user_abort(), error_reporting(), spl_autoload_extensions(), ini_get('assert.exception'),
    strtok("\n") === false, json_last_error(), preg_last_error(), localeconv()['decimal_point'], posix_getpgrp() === getmypid(),
    session_module_name(), session_name(), class_exists('Made', false), array_keys(get_defined_constants(true)['user'] ?? []),
    readline_info('library_version') !== null, memory_get_usage() < 32 << 20, date_default_timezone_get(), umask(), count(error_get_last() ?? []), curl_errno($boot['handle']),
], JSON_PARTIAL_OUTPUT_ON_ERROR), "\n";
file_put_contents($said, '');

$ways = [
    'fork' => function () { $pid = pcntl_fork(); if ($pid === 0) { $GLOBALS['boot'] = []; posix_kill(getmypid(), SIGKILL); } pcntl_waitpid($pid, $status); echo pcntl_wtermsig($status); },
    'orphan' => function () { $pid = pcntl_fork(); if ($pid === 0) { usleep(20000); posix_kill(getmypid(), SIGKILL); } },
    'process' => function () { $GLOBALS['process'] = proc_open(['cat'], [['pipe', 'r'], ['pipe', 'w']], $GLOBALS['pipes']); echo proc_get_status($GLOBALS['process'])['running'] ? 'runs' : 'ended'; },
    'pipe' => function () { $GLOBALS['pipe'] = popen('echo one; echo two', 'r'); echo trim(fgets($GLOBALS['pipe'])); },
    'background' => function () { exec('sleep 0.1 >/dev/null 2>&1 &', $lines, $code); echo $code; },
    'server' => function () { $GLOBALS['client'] = stream_socket_client('tcp://' . silent()); $GLOBALS['served'] = stream_socket_accept($GLOBALS['server']); fwrite($GLOBALS['served'], 'x'); echo fread($GLOBALS['client'], 1); },
    'socket' => function () { socket_create_pair(AF_UNIX, SOCK_STREAM, 0, $GLOBALS['pair']); socket_write($GLOBALS['pair'][0], 'abc'); echo socket_read($GLOBALS['pair'][1], 3), socket_last_error(); @socket_connect(socket_create(AF_INET, SOCK_STREAM, SOL_TCP), '127.0.0.1', 1); echo socket_last_error(); },
    'shmop' => function () { $GLOBALS['shm'] = shmop_open(0x0dd00000 + getmypid() % 65536, 'c', 0600, 8192); echo shmop_write($GLOBALS['shm'], 'abc', 0), shmop_read($GLOBALS['shm'], 0, 3); shmop_delete($GLOBALS['shm']); },
    'sysv' => function () {
        $key = 0x0de00000 + getmypid() % 65536;
        $GLOBALS['sysv'] = $memory = shm_attach($key, 10000);
        shm_put_var($memory, 1, ['a' => 1]);
        echo shm_get_var($memory, 1)['a'];
        shm_remove($memory);
        $GLOBALS['semaphore'] = $semaphore = sem_get($key);
        echo (int) sem_acquire($semaphore);
        sem_remove($semaphore);
        $GLOBALS['queue'] = $queue = msg_get_queue($key);
        msg_send($queue, 1, 'word');
        msg_receive($queue, 1, $type, 100, $word);
        echo $word;
        msg_remove_queue($queue);
    },
    'wrapper' => function () { stream_wrapper_register('told', Told::class); $GLOBALS['told'] = fopen('told://a', 'w'); fwrite($GLOBALS['told'], 'words'); file_put_contents('told://b', 'at once'); },
    'filter' => function () { stream_filter_register('shout', Shout::class); $GLOBALS['filtered'] = fopen('php://memory', 'w+'); stream_filter_append($GLOBALS['filtered'], 'shout', STREAM_FILTER_WRITE); fwrite($GLOBALS['filtered'], 'loud'); rewind($GLOBALS['filtered']); echo fread($GLOBALS['filtered'], 9); },
    'ffi' => function () {
        $ffi = FFI::cdef('typedef int (*compare)(const void *, const void *); void qsort(void *base, size_t count, size_t size, compare by); void *malloc(size_t size);');
        $list = FFI::new('int[5]');
        foreach ([5, 3, 1, 4, 2] as $i => $number) { $list[$i] = $number; }
        $ffi->qsort(FFI::addr($list), 5, 4, fn ($a, $b) => FFI::cast('int *', $a)[0] - FFI::cast('int *', $b)[0]);
        foreach ($list as $number) { echo $number; }
        $GLOBALS['lost'] = $ffi->malloc(100000);
    },
    'generator' => function () use ($boot) { $boot['generator']->next(); echo $boot['generator']->current(); $GLOBALS['open'] = (function () { try { yield new Late('in generator'); } finally { say(' finally'); } })(); $GLOBALS['open']->current(); },
    'fiber' => function () use ($boot) { echo $boot['fiber']->resume(); for ($i = 0; $i < 20; $i++) { $GLOBALS['fibers'][] = $fiber = new Fiber(function () use ($i) { try { Fiber::suspend(new Late("in fiber $i")); } finally { say(" fiber $i ends"); } }); $fiber->start(); } },
    'roots' => function () { for ($i = 0; $i < 12000; $i++) { $a = new stdClass(); $a->self = $a; $GLOBALS['boot']['gc'][$i % 7] = [$a, &$GLOBALS['boot']['gc']]; } echo gc_collect_cycles() > 0 ? 'collected' : 'none'; },
    'intl' => function () use ($boot) {
        $boot['collator']->setAttribute(Collator::NUMERIC_COLLATION, Collator::ON);
        $boot['formatter']->setAttribute(NumberFormatter::MIN_FRACTION_DIGITS, 4);
        ini_set('intl.default_locale', 'fr_FR');
        foreach (['de_DE', 'ja_JP'] as $locale) {
            echo (new IntlDateFormatter($locale, IntlDateFormatter::FULL, IntlDateFormatter::SHORT, 'Asia/Tokyo'))->format(86400 * 365), ' ', (new NumberFormatter($locale, NumberFormatter::SPELLOUT))->format(1234), ' ';
        }
        echo Transliterator::create('Any-Latin; Latin-ASCII')->transliterate('Зелёный 日本'), ' ', Normalizer::normalize("e\u{301}"), MessageFormatter::formatMessage('en_US', '{0,plural,one{# one}other{# many}}', [3]);
        $GLOBALS['break'] = IntlBreakIterator::createWordInstance('th_TH');
        $GLOBALS['break']->setText('สวัสดีชาวโลก');
        echo iterator_count($GLOBALS['break']), ' ', idn_to_ascii('müller.example'), ' ', IntlCalendar::createInstance('UTC', 'fa_IR')->getType(), ' ', transliterator_transliterate('nonsense', 'x') === false ? intl_get_error_code() : '';
    },
    'xml' => function () use ($boot) {
        libxml_set_external_entity_loader(function ($public, $system) { echo " loads $system"; $memory = fopen('php://memory', 'w+'); fwrite($memory, '<!ELEMENT a ANY>'); rewind($memory); return $memory; });
        libxml_use_internal_errors(true);
        $dom = $GLOBALS['document'] = new DOMDocument();
        $dom->loadXML('<!DOCTYPE a SYSTEM "there.dtd"><a>&missing;</a>', LIBXML_DTDLOAD);
        echo count(libxml_get_errors());
        $boot['dom']->documentElement->appendChild($boot['dom']->createElement('soiled'));
        $reader = $GLOBALS['reader'] = new XMLReader();
        $reader->XML('<a><b/></a>');
        $reader->read();
        $sheet = new DOMDocument();
        $sheet->loadXML('<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:php="http://php.net/xsl"><xsl:template match="/"><xsl:value-of select="php:function(\'strtoupper\', \'up\')"/></xsl:template></xsl:stylesheet>');
        $xsl = new XSLTProcessor();
        $xsl->registerPHPFunctions();
        $xsl->importStylesheet($sheet);
        echo $xsl->transformToXml($boot['dom']);
        $parser = $GLOBALS['parser'] = xml_parser_create();
        xml_set_element_handler($parser, fn ($parser, $name) => print(" <$name"), fn ($parser, $name) => print(" >$name"));
        xml_parse($parser, '<half><way>');
    },
    'mb' => function () { mb_internal_encoding('EUC-JP'); mb_http_output('SJIS'); mb_language('Japanese'); mb_detect_order(['ASCII', 'SJIS']); mb_substitute_character('long'); mb_regex_encoding('EUC-JP'); echo bin2hex(mb_convert_encoding('日本', 'SJIS', 'UTF-8')); ob_start('mb_output_handler'); },
    'locale' => function () { setlocale(LC_ALL, 'C'); setlocale(LC_NUMERIC, 'de_DE.UTF-8', 'C'); setlocale(LC_CTYPE, 'C.UTF-8'); echo strtoupper('ä'), ucfirst('x'), localeconv()['decimal_point']; },
    'gettext' => function () { setlocale(LC_ALL, 'C.UTF-8'); putenv('LANGUAGE=xx'); putenv('LC_ALL=C.UTF-8'); bindtextdomain('odd', sys_get_temp_dir()); bind_textdomain_codeset('odd', 'UTF-8'); textdomain('odd'); echo gettext('hello'), ngettext('one', 'many', 2); },
    'iconv' => function () { iconv_set_encoding('internal_encoding', 'ISO-8859-1'); echo bin2hex(iconv('UTF-8', 'EUC-JP', '日本')), bin2hex(iconv('UTF-8', 'ISO-2022-KR//TRANSLIT', 'é')), iconv('UTF-8', 'ASCII//TRANSLIT', 'ü'), @iconv('UTF-8', 'no-such', 'x') === false ? 'no' : 'yes'; $GLOBALS['converted'] = fopen('php://memory', 'w+'); stream_filter_append($GLOBALS['converted'], 'convert.iconv.utf-8.big5'); },
    'curl' => function () use ($boot) {
        curl_setopt($boot['handle'], CURLOPT_RETURNTRANSFER, true);
        curl_exec($boot['handle']);
        echo curl_errno($boot['handle']);
        $multi = $GLOBALS['multi'] = curl_multi_init();
        $share = $GLOBALS['share'] = curl_share_init();
        foreach ([CURL_LOCK_DATA_COOKIE, CURL_LOCK_DATA_DNS, CURL_LOCK_DATA_SSL_SESSION] as $what) { curl_share_setopt($share, CURLSHOPT_SHARE, $what); }
        $address = silent();
        for ($i = 0; $i < 5; $i++) {
            $GLOBALS['handles'][] = $handle = curl_init("http://$address/$i");
            curl_setopt_array($handle, [CURLOPT_SHARE => $share, CURLOPT_COOKIELIST => "Set-Cookie: a=$i; domain=127.0.0.1; path=/", CURLOPT_WRITEFUNCTION => fn ($handle, $text) => strlen($text)]);
            curl_multi_add_handle($multi, $handle);
        }
        curl_multi_exec($multi, $running);
        curl_multi_exec($multi, $running);
        echo $running;
    },
    'curl-time' => function () { $handle = curl_init('http://' . silent() . '/'); curl_setopt_array($handle, [CURLOPT_TIMEOUT_MS => 30, CURLOPT_RETURNTRANSFER => true, CURLOPT_NOPROGRESS => false, CURLOPT_PROGRESSFUNCTION => fn () => 0]); curl_exec($handle); echo curl_errno($handle); },
    'curl-name' => function () { $handle = curl_init('http://nowhere.invalid/'); curl_setopt($handle, CURLOPT_RETURNTRANSFER, true); curl_setopt($handle, CURLOPT_TIMEOUT_MS, 300); echo curl_exec($handle) === false ? 'failed' : 'answered'; },
    'curl-throws' => function () { $handle = curl_init('file://' . __FILE__); curl_setopt($handle, CURLOPT_WRITEFUNCTION, function () { throw new RuntimeException('in a callback'); }); try { curl_exec($handle); } catch (RuntimeException $e) { echo $e->getMessage(); } },
    'openssl' => function () { openssl_x509_parse('nonsense'); openssl_pkey_get_private('nonsense'); $key = $GLOBALS['key'] = openssl_pkey_new(['private_key_type' => OPENSSL_KEYTYPE_EC, 'curve_name' => 'prime256v1']); openssl_sign('x', $signature, $key); echo openssl_verify('x', $signature, openssl_pkey_get_details($key)['key']), strlen(hash_pbkdf2('sha512', 'a', 'b', 10)), hash('xxh3', 'x'), password_verify('a', password_hash('a', PASSWORD_BCRYPT, ['cost' => 4])); },
    'tls' => function () { $context = stream_context_create(['ssl' => ['verify_peer' => false]]); $GLOBALS['tls'] = @stream_socket_client('tls://' . silent(), $number, $text, 0.05, STREAM_CLIENT_CONNECT, $context); echo $GLOBALS['tls'] ? 'open' : 'closed'; },
    'sodium' => function () { $key = sodium_crypto_secretbox_keygen(); $nonce = random_bytes(24); echo sodium_crypto_secretbox_open(sodium_crypto_secretbox('secret', $nonce, $key), $nonce, $key); sodium_memzero($key); echo strlen(sodium_crypto_pwhash(16, 'x', str_repeat('s', 16), 1, 8192)); },
    'sqlite' => function () { $database = $GLOBALS['database'] = database(); $database->sqliteCreateFunction('twice', fn ($number) => $number * 2); $database->beginTransaction(); $database->exec('insert into t values (7)'); echo $database->query('select twice(a) from t')->fetchColumn(), $database->query('select count(*) from t')->fetchColumn(); $GLOBALS['statement'] = $database->query('select * from t'); $GLOBALS['statement']->fetch(); },
    'sqlite3' => function () { $GLOBALS['lite'] = new SQLite3(sys_get_temp_dir() . '/odd3.sqlite'); $GLOBALS['lite']->busyTimeout(5000); $GLOBALS['lite']->exec('create table if not exists t (a blob)'); $GLOBALS['lite']->exec('begin immediate; insert into t values (zeroblob(10000))'); $GLOBALS['blob'] = $GLOBALS['lite']->openBlob('t', 'a', $GLOBALS['lite']->lastInsertRowID()); echo strlen(stream_get_contents($GLOBALS['blob'])); },
    'persistent' => function () { $database = new PDO('sqlite:' . sys_get_temp_dir() . '/oddp.sqlite', null, null, [PDO::ATTR_PERSISTENT => true]); $database->exec('create table if not exists t (a)'); $database->exec('begin; insert into t values (1)'); echo $database->query('select count(*) from t')->fetchColumn() > 0 ? 'some' : 'none'; },
    'apcu' => function () { echo apcu_entry('odd', fn () => 'made', 1), (int) apcu_add('odd', 1); apcu_store('odd', 'made'); try { apcu_entry('throws', function () { throw new Exception('in entry'); }); } catch (Exception $e) { echo $e->getMessage(); } },
    'session' => function () { ini_set('session.use_cookies', '0'); session_name('odd'); session_set_save_handler(new Sessions(), true); session_id('odd'); session_start(); $_SESSION['a'] = 1; },
    'session-throws' => function () { ini_set('session.use_cookies', '0'); session_set_save_handler(new Sessions(fn () => throw new LogicException('in write')), true); session_id('odd'); session_start(); $_SESSION['a'] = 1; },
    'shutdown-exit' => function () { register_shutdown_function(function () { say(' first'); exit(' exited'); }); register_shutdown_function(fn () => print(' never')); },
    'shutdown-throws' => function () { register_shutdown_function(fn () => throw new LogicException('in shutdown')); register_shutdown_function(fn () => print(' never')); },
    'destructor-exit' => function () { $GLOBALS['z1'] = new Late('exits', fn () => exit(' from it')); },
    'destructor-throws' => function () { try { new Late('throws', fn () => throw new LogicException('in destructor')); } catch (LogicException $e) { echo $e->getMessage(); } },
    'destructor-late' => function () { $GLOBALS['z2'] = new Late('throws', fn () => throw new LogicException('at the end')); $GLOBALS['z3'] = new Late('second'); },
    'destructor-makes' => function () { $GLOBALS['z4'] = new Late('makes', function () { $GLOBALS['z5'] = new Late('made at the end'); }); },
    'output-throws' => function () { ob_start(function (string $text) { throw new LogicException('in output'); }); echo 'unseen'; },
    'output-late' => function () { ob_start(fn (string $text, int $phase) => "[$phase:$text]"); echo 'seen'; ob_start(null, 4); echo 'chunks'; },
    'output-headers' => function () { output_add_rewrite_var('id', '1'); echo '<a href="x.php">x</a>'; header('X-Odd: 1'); header_register_callback(function () { header('X-Last: yes'); header_remove('X-Odd'); }); },
    'handlers' => function () { set_error_handler(function ($number, $text) { echo " handled:$text"; return true; }); set_exception_handler(fn ($e) => print(' caught:' . $e->getMessage())); trigger_error('odd', E_USER_WARNING); echo $undefined; },
    'throws' => function () { set_exception_handler(function ($e) { echo ' caught:', $e->getMessage(); }); throw new LogicException('uncaught'); },
    'throws-twice' => function () { set_exception_handler(function ($e) { throw new LogicException('in handler', 1, $e); }); throw new LogicException('uncaught'); },
    'ticks' => function () { register_tick_function(fn () => print(' tick')); eval('declare(ticks=1) { $a = 1; }'); },
    'made' => function () { eval('class Made extends ArrayObject { const A = self::class . PHP_VERSION_ID; public static $b = [self::A]; } interface Able {} abstract class Half implements Able {} trait Part { public static int $count = 0; } final class Whole extends Half { use Part; }'); Whole::$count++; echo count(Made::$b), Whole::$count, (new ReflectionClass('Whole'))->isFinal(); },
    'clone' => function () use ($boot) { foreach ($boot as $name => $part) { if (is_object($part) && (new ReflectionObject($part))->isCloneable()) { $GLOBALS['clones'][$name] = clone $part; } } echo count($GLOBALS['clones'] ?? []) > 0; },
    'storage' => function () use ($boot) { $boot['storage'][new Late('in storage')] = 1; $boot['weak'][$boot['storage']] = 'soiled'; $boot['dom']->odd = 1; },
    'phar' => function () { $name = sys_get_temp_dir() . '/odd' . getmypid() . '.tar'; $phar = $GLOBALS['phar'] = new PharData($name); $phar['a'] = 'text'; echo file_get_contents("phar://$name/a"); },
    'finfo' => function () { $GLOBALS['finfo'] = new finfo(FILEINFO_MIME_TYPE); echo $GLOBALS['finfo']->buffer('%PDF-1.4'), ' ', $GLOBALS['finfo']->buffer("\x89PNG\r\n\x1a\n"); },
    'zlib' => function () { $GLOBALS['deflate'] = deflate_init(ZLIB_ENCODING_GZIP); echo strlen(deflate_add($GLOBALS['deflate'], str_repeat('x', 1 << 20), ZLIB_NO_FLUSH)); $GLOBALS['gz'] = gzopen(sys_get_temp_dir() . '/odd' . getmypid() . '.gz', 'w'); gzwrite($GLOBALS['gz'], 'text'); },
    'log' => function () { openlog('odd', LOG_PID, LOG_USER); syslog(LOG_DEBUG, 'odd'); ini_set('error_log', '/dev/null'); error_log('odd'); },
    'ini' => function () { foreach (['precision' => '3', 'pcre.jit' => '0', 'pcre.backtrack_limit' => '10', 'assert.exception' => '0', 'arg_separator.output' => ';', 'serialize_precision' => '4', 'include_path' => '/', 'user_agent' => 'odd', 'zend.exception_ignore_args' => '1', 'session.gc_maxlifetime' => '1', 'mbstring.language' => 'German', 'date.timezone' => 'Asia/Tokyo'] as $name => $value) { ini_set($name, $value); } echo 1 / 3, http_build_query(['a' => 1, 'b' => 2]), @preg_match('/(a+)+$/', str_repeat('a', 50) . 'b') === false ? preg_last_error() : '', date('e'); },
    'scan' => function () { $GLOBALS['folder'] = opendir(__DIR__); readdir($GLOBALS['folder']); chdir(sys_get_temp_dir()); $GLOBALS['glob'] = new GlobIterator(__DIR__ . '/h*.php'); echo count($GLOBALS['glob']); clearstatcache(true); echo realpath('.') === getcwd(); },
    'strings' => function () { strtok('a b c', ' '); json_decode('{'); @unserialize('nonsense'); similar_text('World', 'Word', $percent); setlocale(LC_TIME, 'C'); echo strtok(' '), json_last_error(), round($percent); assert_options(ASSERT_WARNING, 0); ignore_user_abort(true); error_reporting(0); spl_autoload_extensions('.odd'); },
    'big' => function () { ini_set('memory_limit', '512M'); $GLOBALS['big'] = str_repeat('x', 40 << 20); $GLOBALS['bigger'] = array_fill(0, 1 << 18, [1]); echo strlen($GLOBALS['big']); },
    'deep' => function () { $deep = []; for ($i = 0; $i < 100000; $i++) { $deep = [$deep]; } $GLOBALS['deep'] = $deep; echo count($deep); },
    'readline' => function () { readline_add_history('odd'); echo count(readline_list_history()); },
    'stat' => function () { touch(sys_get_temp_dir() . '/odd' . getmypid()); chmod(sys_get_temp_dir() . '/odd' . getmypid(), 0600); echo decoct(fileperms(sys_get_temp_dir() . '/odd' . getmypid()) & 0777); posix_mkfifo(sys_get_temp_dir() . '/oddfifo' . getmypid() . random_int(0, PHP_INT_MAX), 0600); echo posix_strerror(posix_get_last_error()); },
    'signals' => function () { pcntl_async_signals(true); foreach ([SIGUSR1, SIGUSR2, SIGALRM, SIGHUP] as $signal) { pcntl_signal($signal, fn ($got) => print(" got:$got")); } posix_kill(getmypid(), SIGUSR2); pcntl_alarm(100); pcntl_signal(SIGPIPE, SIG_IGN); },
    'upload' => function () { echo $_FILES['file']['size'] ?? 0, ' ', md5_file($_FILES["file"]["tmp_name"] ?? __FILE__) === md5(str_repeat('x', 20 << 20)) ? 'same' : 'other'; },
    'body' => function () { echo strlen($body = file_get_contents('php://input')), ' ', md5($body) === md5(str_repeat('y', 20 << 20)) ? 'same' : 'other'; },
    'respond' => function () { header('Content-Type: application/octet-stream'); for ($i = 0; $i < 1024; $i++) { echo str_repeat(chr(97 + $i % 26), 1 << 16); } },
    'finish' => function () { fastcgi_finish_request(); echo 'unseen'; $GLOBALS['boot']['late'] = new Late('unseen'); },
    'abrupt' => function () { header('Location: /elsewhere', true, 302); setcookie('a', 'b'); http_response_code(201); flush(); },
    // These end the script.
    'exit' => function () { exit(3); },
    'type' => function () { strlen([]); },
    'missing' => function () { require 'no-such-file.php'; },
    'parse' => function () { eval('this is no PHP'); },
    'redeclare' => function () { eval('function eat() {}'); },
    'eat' => fn () => eat(),
    'eat-shutdown' => function () { register_shutdown_function('eat'); register_shutdown_function(fn () => print(' next')); },
    'eat-destructor' => function () { $GLOBALS['a1'] = new Late('eats', fn () => eat()); $GLOBALS['a2'] = new Late('next'); },
    'eat-output' => function () { ob_start(function (string $text) { eat(); return $text; }); echo 'unseen'; },
    'eat-session' => function () { ini_set('session.use_cookies', '0'); session_set_save_handler(new Sessions(fn () => eat()), true); session_id('odd'); session_start(); $_SESSION['a'] = 1; },
    'eat-stream' => function () { stream_wrapper_register('told', Told::class); $GLOBALS['told'] = fopen('told://a', 'w'); fwrite($GLOBALS['told'], 'eat'); },
    'eat-handler' => function () { set_error_handler(fn () => eat()); echo $undefined; },
    'eat-sort' => function () { $list = range(1, 100); usort($list, function ($a, $b) { eat(); return $a <=> $b; }); },
    'eat-fiber' => function () { (new Fiber(fn () => eat()))->start(); },
    'eat-generator' => function () { foreach ((function () { yield 1; eat(); })() as $one) { echo $one; } },
    'eat-autoload' => function () { spl_autoload_register(fn () => eat()); new Missing(); },
    'eat-ffi' => function () { $ffi = FFI::cdef('typedef int (*compare)(const void *, const void *); void qsort(void *base, size_t count, size_t size, compare by);'); $ffi->qsort(FFI::addr(FFI::new('int[5]')), 5, 4, function () { eat(); return 0; }); },
    'eat-sqlite' => function () { $database = database(); $database->sqliteCreateFunction('eat', fn () => eat()); $database->exec('begin; insert into t values (1)'); $database->query('select eat()'); },
    'eat-curl' => function () { $handle = curl_init('file://' . __FILE__); curl_setopt($handle, CURLOPT_WRITEFUNCTION, function () { eat(); return 0; }); curl_exec($handle); },
    'eat-xml' => function () { $parser = xml_parser_create(); xml_set_element_handler($parser, fn () => eat(), null); xml_parse($parser, '<a><b></b></a>', true); },
    'eat-apcu' => function () { apcu_entry('eaten', fn () => eat()); },
    'stack' => function () { $recurse = function ($depth) use (&$recurse) { return $depth === 0 ? 0 : array_sum(array_map($recurse, [$depth - 1])); }; echo $recurse(3000); },
    // These take a second of processor time.
    'time' => function () { set_time_limit(1); while (true) { } },
    'time-sort' => function () { set_time_limit(1); $list = range(1, 10); usort($list, function ($a, $b) { while (true) { } }); },
    'time-shutdown' => function () { set_time_limit(1); register_shutdown_function(function () { while (true) { } }); register_shutdown_function(fn () => print(' next')); },
];
foreach (explode(',', $_GET['do'] ?? '') as $way) {
    if (isset($ways[$way])) {
        echo "$way:";
        $ways[$way]();
        echo "\n";
    }
}
if (isset($_GET['all'])) {
    echo implode(',', array_keys($ways));
}
