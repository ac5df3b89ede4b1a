<?php // Soils a process in every way that PHP has, in the order that ?do= says. What it finds at its start, it prints.
final class Soiled
{
    public static array $kept = [];

    public function __construct(private string $word)
    {
    }

    public function __destruct()
    {
        echo " destructed:$this->word";
    }
}

function counted(): int
{
    static $times = 0;

    return ++$times;
}

function recurse(int $depth): int
{
    return $depth === 0 ? 0 : 1 + recurse($depth - 1);
}

$boot = ['list' => range(1, 1000), 'object' => new ArrayObject([1, 2, 3])];
$log = fopen(__FILE__, 'r');
fread($log, 5);
regie_checkpoint();

$found = [
    Soiled::$kept, counted(), count($boot['list']), count($boot['object']), ftell($log), fread($log, 4),
    ini_get('precision'), ini_get('memory_limit'), ini_get('default_charset'), date_default_timezone_get(),
    defined('SOILED'), class_exists('Declared', false), function_exists('declared'), count(spl_autoload_functions()),
    in_array('soil', stream_get_wrappers(), true), setlocale(LC_ALL, '0'), decoct(umask()), basename(getcwd()),
    getenv('SOILED'), ob_get_level(), mb_internal_encoding(), count(libxml_get_errors()), libxml_use_internal_errors(),
    Locale::getDefault(), gc_enabled(), session_status(), count(get_included_files()), isset($GLOBALS['soil']),
    error_get_last(), array_keys($_SESSION ?? []), get_debug_type(set_error_handler(null)), php_sapi_name(),
];
echo json_encode($found, JSON_PARTIAL_OUTPUT_ON_ERROR), "\n";

$ways = [
    'static' => function () { Soiled::$kept[] = counted(); echo ' ', counted(); },
    'global' => function () { $GLOBALS['soil'] = range(1, 50); $GLOBALS['boot']['list'] = []; },
    'object' => function () use ($boot) { $boot['object']->append('soiled'); echo ' ', count($boot['object']); },
    'ini' => function () { ini_set('precision', '5'); ini_set('memory_limit', '300M'); ini_set('default_charset', 'latin1'); echo ' ', 1 / 3; },
    'constant' => function () { define('SOILED', 1); },
    'class' => function () { eval('class Declared {} function declared() {} enum Suit { case Heart; }'); echo ' ', Suit::Heart->name; class_alias('Declared', 'Alias'); },
    'autoload' => function () { spl_autoload_register(fn (string $class) => print(" autoload:$class")); class_exists('Missing'); },
    'handler' => function () { set_error_handler(fn ($no, $text) => print(" handled:$text")); trigger_error('on purpose'); },
    'wrapper' => function () { stream_wrapper_register('soil', ArrayObject::class); stream_wrapper_unregister('data'); },
    'locale' => function () { setlocale(LC_ALL, 'C.UTF-8'); Locale::setDefault('de_DE'); echo ' ', (new NumberFormatter('de_DE', NumberFormatter::DECIMAL))->format(1234.5); },
    'umask' => function () { umask(0077); },
    'cwd' => function () { chdir('/'); echo ' ', getcwd(); },
    'files' => function () use ($log) { for ($i = 0; $i < 20; $i++) { $GLOBALS['open'][] = fopen(__FILE__, 'r'); } flock($GLOBALS['open'][0], LOCK_SH); is_resource($log) && fread($log, 100); $GLOBALS['tmp'] = tmpfile(); fwrite($GLOBALS['tmp'], 'x'); },
    'close' => function () use ($log) { is_resource($log) && fclose($log); },
    'sqlite' => function () { $db = $GLOBALS['db'] = new PDO('sqlite::memory:'); $db->exec('create temporary table t (a); insert into t values (7)'); echo ' ', $db->query('select a from t')->fetchColumn(); },
    'leak' => function () { $GLOBALS['leak'] = str_repeat('x', 1 << 20); for ($i = 0; $i < 2000; $i++) { $a = new stdClass(); $a->self = $a; } },
    'huge' => function () { $GLOBALS['huge'] = array_fill(0, 400000, 1); $GLOBALS['boot']['list'][] = range(1, 100000); },
    'timezone' => function () { date_default_timezone_set('Asia/Tokyo'); echo ' ', date('H', 0); },
    'environment' => function () { putenv('SOILED=yes'); $_ENV['SOILED'] = $_SERVER['SOILED'] = 1; echo ' ', getenv('SOILED'); },
    'shutdown' => function () { register_shutdown_function(function () { echo ' shutdown'; register_shutdown_function(fn () => print(' nested')); }); },
    'destructor' => function () { $GLOBALS['late'] = new Soiled('global'); new Soiled('at once'); Soiled::$kept[] = new Soiled('static'); },
    'buffer' => function () { ob_start(fn (string $text) => strtoupper($text)); echo ' buffered'; },
    'mbstring' => function () { mb_internal_encoding('ISO-8859-1'); mb_substitute_character(0x3f); },
    'libxml' => function () { libxml_use_internal_errors(true); $GLOBALS['dom'] = new DOMDocument(); $GLOBALS['dom']->loadXML('<a><b></a>'); echo ' ', count(libxml_get_errors()); },
    'random' => function () { mt_srand(42); echo ' ', mt_rand(); srand(7); echo ' ', rand(); },
    'curl' => function () { $GLOBALS['curl'] = curl_init('http://127.0.0.1:1/'); curl_setopt($GLOBALS['curl'], CURLOPT_RETURNTRANSFER, true); echo ' ', curl_exec($GLOBALS['curl']) === false ? 'refused' : 'answered'; },
    'gc' => function () { gc_disable(); },
    'header' => function () { header('X-Soiled: yes'); http_response_code(202); header_register_callback(fn () => header('X-Last: yes')); },
    'session' => function () { ini_set('session.use_cookies', '0'); session_save_path(sys_get_temp_dir()); session_id('torture'); session_start(); $_SESSION['soiled'] = 1; },
    'recursion' => function () { echo ' ', recurse(20000); },
    'fiber' => function () { $GLOBALS['fiber'] = new Fiber(function () { try { Fiber::suspend(1); } finally { echo ' fiber ends'; } }); echo ' ', $GLOBALS['fiber']->start(); },
    'generator' => function () { $GLOBALS['generator'] = (function () { try { yield 1; } finally { echo ' generator ends'; } })(); echo ' ', $GLOBALS['generator']->current(); },
    'child' => function () { echo ' ', trim(shell_exec('echo child')); $GLOBALS['process'] = proc_open(['sleep', '0'], [], $pipes); },
    'pattern' => function () { for ($i = 0; $i < 50; $i++) { preg_match("/a{$i}b?/u", 'a1b'); } },
    'include' => function () { require_once __DIR__ . '/request-superglobal-look.inc'; },
    'context' => function () { stream_context_set_default(['http' => ['method' => 'POST']]); },
    'superglobal' => function () { $_GET = ['soiled' => 1]; unset($_SERVER['REQUEST_URI']); $_COOKIE['soiled'] = 1; },
    'openssl' => function () { echo ' ', strlen(openssl_encrypt('x', 'aes-256-gcm', str_repeat('k', 32), 0, str_repeat('i', 12), $tag)); },
    'exception' => function () { throw new LogicException('uncaught on purpose'); },
    'exit' => function () { exit(' exited'); },
    'memory' => function () { ini_set('memory_limit', '32M'); str_repeat('x', 40 << 20); },
];
foreach (explode(',', $_GET['do'] ?? '') as $way) {
    if (isset($ways[$way])) {
        echo "$way:";
        $ways[$way]();
        echo "\n";
    }
}
