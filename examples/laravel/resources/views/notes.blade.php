@extends('layout')

@section('content')
<h1>Notes</h1>
<form method="post" action="{{ route('notes') }}">
@csrf
<label>Your name <input name="author" value="{{ old('author') }}"></label>
<label>Your note <input name="text" value="{{ old('text') }}"></label>
<button>Write</button>
@foreach ($errors->all() as $error)
<p role="alert">{{ $error }}</p>
@endforeach
</form>
<ul>
@forelse ($notes as $note)
<li>{{ $note->text }} <small>{{ $note->author }}{{ $note->words ? ", $note->words words" : '' }}</small></li>
@empty
<li>Nothing yet.</li>
@endforelse
</ul>
@endsection
